"""Settings without sense, or that a command would take and not use, are refused in one sentence that names them."""

import importlib
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from sg.core.commands import typed
from sg.core.errors import SgError
from sg.core.layout import CONFIG_FOLDER
from sg.core.mistakes import sentence

COMMANDS = {
    "train": ("sg.study.config", "TrainConfig"),
    "evaluate": ("sg.study.evaluation", "EvaluateConfig"),
    "caption": ("sg.caption.config", "CaptionConfig"),
    "curate": ("sg.curate.config", "CurateConfig"),
    "sources": ("sg.sources.config", "SourcesConfig"),
    "status": ("sg.status.__main__", "StatusConfig"),
    "power": ("sg.report.commands.power", "PowerConfig"),
}
GEMINI = "data=folder data.videos=DIR captioner=gemini"
SERVER = "data=folder data.videos=DIR captioner=vllm captioner.model.name=m"
HF = "caption captioner=hf model@captioner.student=qwen3_vl_2b"
REFUSED = {
    "train benchmark.name=../x": "benchmark.name='../x' names a folder",
    "curate curator.name=a/b": "curator.name='a/b' names a folder",
    "train paths.work=": "paths.work= is empty",
    "train paths.runs=": "paths.runs= is empty",
    "train stages=caption": "stages=caption should be a list: write stages=[caption].",
    "train data.scale=null": "data.scale=null should have a value",
    "train benchmark.answering.settings=[]": "benchmark.answering.settings=[] should name one or more: a study",
    "train benchmark.answering.probes=[no_video,no_video]": "probes=[no_video,no_video] should name each once",
    "train data.control_scale=x": "data.control_scale='x' is not a scale",
    "train stage.caption.weight_decay=-1": "stage.caption.weight_decay=-1.0 should be at least 0",
    "train stage.caption.max_length=0": "stage.caption.max_length=0 should be at least 1",
    "train stage.caption.beta2=1": "stage.caption.beta1=0.9 and beta2=1.0 should lie",
    "train stage.caption.merge_adapters=false": "stage.caption.merge_adapters=false needs adapters",
    "evaluate checkpoint=DIR server.frames=8": "needs served=URL",
    "evaluate checkpoint=DIR shards=0": "shards=0 should be at least 1",
    "curate data=demo scales=[50kk]": "scales='50kk' is not a scale (did you mean 50k?)",
    "curate data=demo extend=-1": "extend='-1' is not a scale",
    "sources data=folder data.videos=DIR data.video_column=a data.caption_column=a": "should name two columns",
    "sources data=folder data.videos=DIR data.workers=-1": "data.workers=-1 should be 0 or more",
    "caption action=forget dry_run=true": "dry_run= is a setting of caption, and forget does not use it",
    "caption action=judge dry_run=true": "judge does not use it",
    "caption dry_run=true calibrate=-3": "calibrate=-3 should be at least 0",
    "status hours=-1": "hours=-1.0 should be at least 0",
    "caption ids=FILE": "ids= is a setting of forget, export, and caption does not use it",
    "caption out=FILE": "out= is a setting of export, prices, sheet",
    "caption action=audit samples=0": "samples=0 should be at least 1",
    f"caption {GEMINI} captioner.fps=0": "captioner.fps=0.0 should be above 0",
    f"caption {GEMINI} captioner.canary=-1": "captioner.canary=-1 should be at least 0",
    f"caption {GEMINI} captioner.language=english": "captioner.language='english' should be two letters",
    f"caption {GEMINI} captioner.max_duplicates=0": "captioner.max_duplicates=0 should be at least 1",
    f"caption {GEMINI} captioner.assumed_output_tokens=-5": "captioner.assumed_output_tokens=-5 should be",
    f"caption {GEMINI} captioner.retry.max_minutes=-1": "captioner.retry.max_minutes=-1.0 should be at least 0",
    f"caption {GEMINI} captioner.retry.quality_retries=-1": "captioner.retry.quality_retries=-1 should be",
    f"caption {GEMINI} captioner.batch.stall_hours=-1": "captioner.batch.stall_hours=-1.0 should be at least 0",
    f"caption {GEMINI} captioner.retry_states=[rejectd]": "(did you mean rejected?)",
    f"caption {GEMINI} captioner.generation.max_output_tokens=abc": "max_output_tokens=abc should be a whole number",
    f"caption {GEMINI} captioner.generation.max_output_tokens=0": "max_output_tokens=0 should be a whole number",
    f"caption {SERVER} captioner.base_url=http://127.0.0.1:1/v1": "captioner.base_url and captioner.servers both",
    f"caption {GEMINI} captioner.buy_first=10k": "captioner.buy_first=10k is for captioner.buy=adaptive",
    "caption action=export out=DIR videos=true format=chat_univi": "add format=webdataset",
    f"caption {SERVER} captioner.gpus=0": "captioner.gpus=0 should be at least 1",
    "train forgetting.samples=5": "forgetting.media and forgetting.samples need forgetting.dialogs=FILE.",
    "train wanted_points=1": "wanted_points=1.0 is for the plan: add dry_run=true.",
    "train why=true rehearse=true": "rehearse=true is another answer than why=true",
    "train primary.contrast=control": "add register=true",
    "train demo_world.world_seed=3": "data=demo has a demo world: set data.world.KEY=VALUE.",
    "train trainer.evaluate_questions=5": "needs trainer.evaluate_every",
    "train data.held_out.videos=0 data.held_out.max_similarity=0.5": "data.held_out.max_similarity=0.5 is for a draw",
    "train stage.caption.sources=[{dialogs:x,media:y}]": "stage.caption.sources has no effect on a stage of",
    "train stage.instruct.requests=[hello]": "stage.instruct.requests has no effect on a stage of",
    "train stage.align.peft=lora": "stage.align.peft=lora adapts no weight: stage.align.trains=[connector]",
    "evaluate merge=DIR output=DIR": "has no effect: the scores of merge=",
    "evaluate merge=DIR shards=2": "they need checkpoint=FOLDER",
    "evaluate predictions=FILE shards=2 shard=1": "they need checkpoint=FOLDER",
    "evaluate served=http://127.0.0.1:1/v1 server.retry.max_minutes=-1": "server.retry.max_minutes=-1.0 should be",
    "evaluate served=http://127.0.0.1:1/v1 server.fps=2": "server.fps=2.0 has no effect",
    "caption action=judge captioner@judge=gemini judge.quota.rpm=-1": "judge.quota.rpm=-1.0 should be",
    f"caption {GEMINI} captioner.buy=adaptive captioner.min_gain_per_usd=0.1": "this command would buy all",
    f"caption {GEMINI} captioner.model=gemini_3_8_flash": "captioner.model=gemini_3_8_flash should be settings: write "
    "captioner.model.KEY=VALUE, or captioner/model=FILE",
    f"caption {GEMINI} captioner.language=zz": "of a language that the gates recognise",
    f"caption {GEMINI} captioner.generation.max_output_tokens=true": "max_output_tokens=True should be a whole number",
    f"caption {GEMINI} +captioner.generation.maxOutputTokens=9": "is captioner.generation.max_output_tokens",
    f"caption {GEMINI} +captioner.generation.candidate_count=4": "one answer per request is read",
    f"caption {GEMINI} +captioner.generation.media_resolution=low": "it is a setting of captioner.model",
    f"caption {SERVER} +captioner.generation.max_tokens=9": "is captioner.generation.max_output_tokens",
    f"caption {SERVER} +captioner.generation.model=other": "this program sends its own",
    f"caption {SERVER} +captioner.generation.messages=[hello]": "this program sends its own",
    f"caption {GEMINI} +captioner.generation.thinking_config={{thinking_level:high}}": "sends its own",
    f"caption {SERVER} captioner.transport=upload": "captioner.transport=upload",
    f"caption {GEMINI} captioner.tier=batch captioner.transport=upload": "captioner.transport=upload",
    f"caption {GEMINI} captioner.usd_per_hour=-1": "captioner.usd_per_hour=-1.0 should be at least 0",
    f"caption {SERVER} captioner.api_version=v2": "captioner.api_version=v2 has no effect",
    f"{HF} captioner.base_url=http://127.0.0.1:1/v1": "captioner.base_url and captioner.key_file have no effect",
    f"{HF} captioner.key_file=FILE": "captioner.base_url and captioner.key_file have no effect",
    "evaluate served=http://127.0.0.1:1/v1 +server.generation.model=x": "server.generation.model=x would not be used",
    f"caption {SERVER} captioner.fps=2": "captioner.fps=2.0 has no effect",
    f"{HF} +captioner.generation.top_k=1": "has no effect on",
    "power usd_per_hour=3": "add wanted_points=N hours_per_run=N",
    "power hours_per_run=3": "add wanted_points",
    "power setting=with_subtitles": "add study=FOLDER",
}
USED = [
    "train why=true dry_run=true",
    "train stage.peft=lora stage.caption.merge_adapters=false",
    "train dry_run=true wanted_points=1 usd_per_hour=2",
    "train register=true primary.contrast=control",
    "train data=folder data.videos=DIR demo_world.world_seed=3",
    "evaluate checkpoint=DIR shards=2 shard=1 output=DIR",
    f"caption action=status {GEMINI} captioner.buy=adaptive captioner.min_gain_per_usd=0.1",
    f"caption {GEMINI} captioner.language=de +captioner.generation.candidate_count=1",
    "caption action=judge captioner@judge=gemini",
    "evaluate checkpoint=DIR",
    "evaluate served=http://127.0.0.1:1/v1 server.frames=8",
    "caption dry_run=true",
    "caption action=export out=DIR ids=FILE videos=true format=webdataset",
    "caption action=sheet out=FILE samples=5",
    f"caption {GEMINI} captioner.fps=0.5 captioner.language=null captioner.retry_states=[submitted,rejected]",
    f"caption {SERVER}",
    "power wanted_points=1 hours_per_run=3 usd_per_hour=2",
]


def read(line: str) -> None:
    """Compose the config of a command line and check it, as the command does."""
    name, *words = line.split()
    module, root = COMMANDS[name]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        schema = getattr(importlib.import_module(module), root)
        typed(compose(name, overrides=words), schema)


@pytest.mark.parametrize("line", REFUSED)
def test_a_setting_without_effect_or_sense_is_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises((SgError, HydraException, OmegaConfBaseException)) as caught:
        read(line.replace("DIR", str(tmp_path)).replace("FILE", str(tmp_path / "file")))
    assert REFUSED[line] in sentence(caught.value)


@pytest.mark.parametrize("line", USED)
def test_a_setting_that_is_used_is_taken(line: str, tmp_path: Path) -> None:
    read(line.replace("DIR", str(tmp_path)).replace("FILE", str(tmp_path / "file")))
