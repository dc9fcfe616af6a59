"""The floor above the steps: which inputs and stages a run needs, reuse and resume, controls, sweeps, plan, end table."""
