"""The tables that the authors' scripts print, text for text, with the headline number of each benchmark."""
