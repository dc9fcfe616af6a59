"""Every recipe of `docs/extending.md` works as it stands there: its files and commands are taken out of the page."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sg.artefacts.captions import read_captions
from sg.artefacts.forest import read_forest
from sg.artefacts.vectors import read_vectors
from sg.core.files import read_json
from sg.models.chat_univi.build import build_model
from sg.models.chat_univi.settings import ModelConfig
from sg.video.writer import write_video
from tests.study.commands import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = re.findall(r"^```(?:python|yaml)\n# my_config/(\S+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^    (python .*)$", PAGE, flags=re.MULTILINE)


def test_every_kind_has_a_recipe_with_both_files() -> None:
    names = {name for name, _ in FILES}
    for group in ("data", "captioner", "embedder", "curator", "model", "benchmark"):
        assert any(f"plugins/{Path(name).stem}.py" in names for name in names if name.startswith(f"{group}/"))


def test_the_registries_and_folders_of_the_page_exist() -> None:
    rows = re.findall(
        r"^\| \w+ \| `(\w+)` \| `(\w+)` in `([\w/.]+)` \| `([\w/]+)` \| `([\w/]+)` \|", PAGE, re.MULTILINE
    )
    assert len(rows) == 6
    for group, registry, module, folder, tests in rows:
        assert f"{registry}: Registry" in (ROOT / module).read_text(encoding="utf-8")
        assert all((ROOT / name).is_dir() for name in (f"conf/{group}", folder, tests))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of the recipes, and what the capitals in their commands stand for."""
    folder = tmp_path_factory.mktemp("extending")
    for name, text in FILES:
        path = folder / "my_config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    places = {name: folder / name for name in ("VIDEOS", "BENCHMARK", "CHECKPOINT", "TABLE")}
    for name in ("VIDEOS", "BENCHMARK"):
        places[name].mkdir()
    rows = ["number,text"]
    for number in range(4):
        frames = np.full((8, 64, 64, 3), 60 * number, np.uint8)
        write_video(places["VIDEOS"] / f"{number}.mp4", frames, 1)
        rows.append(f"{number},a grey video")
    places["TABLE"] = folder / "table.csv"
    places["TABLE"].write_text("\n".join(rows), encoding="utf-8")
    write_video(places["BENCHMARK"] / "dark.mp4", np.zeros((8, 64, 64, 3), np.uint8), 1)
    write_video(places["BENCHMARK"] / "light.mp4", np.full((8, 64, 64, 3), 250, np.uint8), 1)
    model = ModelConfig(
        name="tiny", language_model="sg/demo/assets/language_model", vision_tower="sg/demo/assets/vision_tower",
        system_prompt="", spatial_clusters=[8, 4, 2], temporal_cluster_rate=1 / 8,
    )  # fmt: skip
    build_model(model).save_pretrained(places["CHECKPOINT"])
    return {**places, "my_config": folder / "my_config", "folder": folder}


@pytest.mark.slow
def test_the_commands_of_the_page_use_what_its_files_add(filled: dict[str, Path]) -> None:
    folder = filled["folder"]
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        for name in ("my_config", "VIDEOS", "BENCHMARK", "CHECKPOINT", "TABLE"):
            words = [re.sub(rf"(^|=){name}$", rf"\g<1>{filled[name]}", word) for word in words]
        words += [f"paths.work={folder / 'work'}", f"paths.runs={folder / 'runs'}"]
        words += ["output=" + str(folder / "answers")] if words[0] == "evaluate.py" else []
        done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    data = folder / "work" / "pairs"
    captions = read_captions(data / "captions" / "shout" / "captions.parquet")
    assert set(captions.values()) == {"A GREY VIDEO"}
    assert len(read_vectors(data / "embeddings" / "mean_colour").video_ids) == 4
    forest = read_forest(data / "curation" / "alphabet" / "forest.parquet")
    assert list(forest.video_ids) == [f"pairs-{number}" for number in range(4)]
    assert read_json(folder / "answers" / "scores.json")["identity"]["settings"]["class"] == "BrightnessConfig"
