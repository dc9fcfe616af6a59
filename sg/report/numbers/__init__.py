"""The numbers of a study: runs, estimates, statistics, comparisons, curve fits, costs and the corpus."""
