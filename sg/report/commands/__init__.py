"""The subcommands of `python -m sg.report`."""
