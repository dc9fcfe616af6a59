import subprocess
import sys
from pathlib import Path

import pytest

from sg.core.errors import ConfigError
from sg.report.cards.fill import DATA_CARD, MODEL_CARD, write_cards
from sg.report.numbers.study import Study, read_study

from ..study_builder import record_inputs, write_corpus, write_study

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "demo_scaling"
    write_study(path, videos=15, seeds=1)
    inputs = write_corpus(path.parent / "corpus")
    recipe = {"learning_rate": 0.002, "batch_size": 16, "trains": ["connector"]}
    config = {
        "model": {"name": "tiny", "language_model": HOSTILE},
        "data": {"name": "demo"},
        "stage": {"align": recipe},
    }
    record_inputs(path, inputs, config)
    return path


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return read_study(folder)


def test_the_data_card_states_videos_captions_and_cores(study: Study, tmp_path: Path) -> None:
    write_cards(study, tmp_path)
    card = (tmp_path / DATA_CARD).read_text()
    assert "# Data card: demo" in card and "24 videos" in card and "24 captions" in card
    assert "US$0.00" in card and "python train.py" in card and "✎" in card


def test_the_model_card_states_stages_scores_and_the_command(study: Study, tmp_path: Path) -> None:
    write_cards(study, tmp_path)
    card = (tmp_path / MODEL_CARD).read_text()
    assert "# Model card: tiny trained on 530k captions" in card
    assert "| align | 38 | 16 | 0.002 | connector |" in card
    assert "| Without subtitles | " in card and "✎" in card


def test_hostile_text_is_text_in_a_card(study: Study, tmp_path: Path) -> None:
    write_cards(study, tmp_path)
    card = (tmp_path / MODEL_CARD).read_text()
    assert HOSTILE not in card and "&lt;script&gt;alert(1)&lt;/script&gt;" in card


def test_the_model_card_can_describe_any_finished_run(study: Study, tmp_path: Path) -> None:
    name = next(run.run for run in study.runs if run.scale == 50_000 and run.control is None)
    write_cards(study, tmp_path, name)
    assert "trained on 50k captions" in (tmp_path / MODEL_CARD).read_text()
    with pytest.raises(ConfigError, match="not a finished run"):
        write_cards(study, tmp_path, "nonsense")


@pytest.mark.slow
def test_the_command_writes_both_cards_beside_the_report(folder: Path) -> None:
    command = [sys.executable, "-m", "sg.report", "cards", f"study={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (folder / "report" / "cards").iterdir()) == [DATA_CARD, MODEL_CARD]
