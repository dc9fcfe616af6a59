"""The report of a study: reads `runs/<study>/*/result.json` and `predictions.jsonl`, writes tables, figures and a page.

Nothing here trains or evaluates; every number comes from files. Read in this order: `numbers/study` (what was run),
`numbers/estimates` (values with intervals), `numbers/summary` (every number of the report), `pages/conclusion` (what
the numbers support), `write` (all files of the report). Imports go from `commands` and `write` to `wandb`, `ladder` and
`pages`, then to `figures`, then to `numbers`.
"""
