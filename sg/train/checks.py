"""Combinations of recipe and machine that are refused before anything is loaded."""

from sg.core.errors import ConfigError
from sg.train.config import RecipeConfig, TrainerConfig, micro_batches


def check_machine(recipe: RecipeConfig, trainer: TrainerConfig) -> None:
    """Refuse impossible combinations of recipe and machine before anything is loaded.

    Raises:
        ConfigError: names the keys in one sentence.
    """
    for stage in recipe.stages:
        micro_batches(stage, trainer.world_size)
        if stage.has_adapters and trainer.shards:
            raise ConfigError(
                f"trainer.strategy=fsdp shards trained weights, but stage.{stage.name}.peft={stage.peft} freezes them: "
                "use trainer=ddp (every device holds the frozen model) or stage.peft=none."
            )


def missing_library(recipe: RecipeConfig) -> str:
    """What is not installed for weights in 4 bits, as one line; "" if nothing is missing."""
    for stage in recipe.stages:
        if stage.has_adapters and stage.peft == "qlora" and not has_bitsandbytes():
            return f"bitsandbytes (stage.{stage.name}.peft=qlora: `pip install bitsandbytes`, or use stage.peft=lora)"
    return ""


def has_bitsandbytes() -> bool:
    """True if the library for weights in 4 bits is installed."""
    from importlib.util import find_spec

    return find_spec("bitsandbytes") is not None
