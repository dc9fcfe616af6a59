"""Captioners that ask a service: settings, the run, its status, calibration, prices, prompts, and what it writes."""
