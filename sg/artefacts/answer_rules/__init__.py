"""How the authors of each benchmark turn a response into a letter and a score."""
