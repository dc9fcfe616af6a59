"""ShareGemini: does more synthetic caption data help a video language model, and how much of it does it need?"""

__version__ = "0.1.0"
