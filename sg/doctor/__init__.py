"""`python -m sg.doctor`: what this machine has, and what each part of a study still lacks; changes nothing."""
