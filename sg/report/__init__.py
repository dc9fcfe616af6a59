"""The report of a study: reads `runs/<study>/*/result.json` and `predictions.jsonl`, writes tables, figures and a page.

Nothing here trains or evaluates; every number comes from files. Read in this order: study (what was run), estimates
(values with intervals), summary (every number of the report), conclusion (what they allow to say), write.
"""
