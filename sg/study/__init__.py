"""The floor above the steps: inputs and stages of a run, reuse and resume, controls, sweeps, plan, end table."""
