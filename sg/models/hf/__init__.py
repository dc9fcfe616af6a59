"""Any video language model of transformers: `model=hf`. Model, preprocessing and chat template are transformers'."""
