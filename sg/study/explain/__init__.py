"""What each of several changes of settings is worth in points (`evaluate.py explain=[...]`)."""
