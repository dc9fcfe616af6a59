from pathlib import Path

from sg.core.help import help_text


def test_help_shows_the_head_the_groups_with_their_options_and_the_own_keys(tmp_path: Path) -> None:
    for name in ("model/tiny", "model/big", "stage/tiny/align"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "train.yaml").write_text(
        "# Trains a model.\n#   python train.py\n"
        "defaults:\n  - train_schema\n  - _self_\n  - model: tiny\n"
        "  - stage@stage.align: ${model}/align\n  - none: null\n"
        "\nseed: 0  # of everything\nhydra:\n  job:\n    chdir: false\n",
        encoding="utf-8",
    )
    assert help_text(tmp_path, "train") == (
        "Trains a model.\n  python train.py\n\n"
        "Groups, chosen as GROUP=OPTION:\n  model        big, tiny\n  stage        tiny/align\n\n"
        "Keys, set as KEY=VALUE like every key of a group (GROUP.KEY=VALUE):\n  seed: 0  # of everything\n\n"
        "--cfg job prints the whole config; -m runs every combination of comma-separated values.\n"
    )
