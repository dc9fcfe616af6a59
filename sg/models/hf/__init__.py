"""Any video language model of transformers: `model=hf`. Model, preprocessing and chat template are transformers'."""

CONNECTOR_OUTPUT = "connector"
"""The level of cached features that are everything that enters the language model."""
TOWER_OUTPUT = "tower"
"""The level of cached features that are what the connector reads."""
