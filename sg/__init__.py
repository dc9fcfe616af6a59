"""ShareGemini: does more synthetic caption data help a video language model, and how much of it does it need?"""

from sg.core.torchvision_import import allow_torchvision

__version__ = "0.1.0"

allow_torchvision()
