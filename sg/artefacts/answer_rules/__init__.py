"""How the authors of each benchmark turn a response into a letter and a score; how sure a model is of its answer."""
