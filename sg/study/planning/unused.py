"""Settings on the command line that none of its runs uses."""

from collections.abc import Sequence

from sg.artefacts.arms import EQUAL_STEPS
from sg.core.commands import refuse_given
from sg.study.config import TrainConfig
from sg.train.config import STAGES


def refuse_unused(runs: Sequence[TrainConfig], words: Sequence[str] | None = None) -> None:
    """Raise ConfigError if a word of the command line sets what none of its runs uses.

    Values in the files of `conf` are not looked at: they wait for another setting, as those of adapters do.

    Args:
        runs: all runs of the command.
        words: those of a sweep; None takes the words of this command, which makes one run.
    """
    unused: dict[str, str] = {}
    for name in STAGES:
        stages = [stage for run in runs if (stage := getattr(run.stage, name)) is not None]
        if not stages:
            unused[f"stage.{name}"] = f"stages=[{','.join(runs[0].stages or [])}] leaves this stage out"
        if not any(stage.has_adapters for stage in stages):
            unused.setdefault(f"stage.{name}.lora", "it sets adapters, which need stage.peft=lora")
    if words is None and runs[0].controls:
        unused["controls"] = "a sweep adds these runs: add -m, or make one of them with data.control=NAME"
    if words is None and runs[0].data.control != EQUAL_STEPS:
        unused["data.control_scale"] = "it is the scale whose steps data.control=equal_steps takes"
    refuse_given(unused, words=words)
