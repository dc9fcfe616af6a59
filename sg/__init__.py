"""ShareGemini: does more synthetic caption data help a video language model, and how much of it does it need?"""

from sg.models.torchvision_names import allow_torchvision

__version__ = "0.1.0"

allow_torchvision()
