"""The study: inputs and stages of a run, reuse and resumption, controls, sweeps, plans, and the report at the end."""
