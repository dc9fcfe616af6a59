"""`python -m sg.doctor`: reports what this machine has and what a study lacks; changes nothing."""
