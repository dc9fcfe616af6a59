"""Damaged checkpoints of finished and unfinished stages are reported, and training resumes from what is intact."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sg.artefacts.checkpoint import check_stage_files, read_stage_info
from sg.core.errors import DataError
from sg.models.chat_univi.build import load_checkpoint
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.train.stage import train_stage
from tests.train.builders import RandomClips, inputs, stage_job, tiny_student, trainer_config
from tests.train.member import Stopped, fail_after


def train(folder: Path) -> Path:
    torch.set_num_threads(1)
    config = trainer_config(checkpoint_every_steps=2)
    train_stage(stage_job(folder, count=24), tiny_student, inputs(), RandomClips(), config, lambda values: None)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return ChatUniViForConditionalGeneration.from_pretrained(folder).state_dict()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("stages") / "caption")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stages") / "stopped"
    fail_after(5)
    try:
        with pytest.raises(Stopped):
            train(folder)
    finally:
        fail_after(None)
    return folder


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.model", "loss.csv"])
def test_one_flipped_bit_of_a_finished_stage_is_reported_with_what_to_delete(
    tmp_path: Path, trained: Path, name: str
) -> None:
    folder = shutil.copytree(trained, tmp_path / "caption")
    flip(folder / name, (folder / name).stat().st_size // 2)
    with pytest.raises(DataError, match=rf"caption/{name} is damaged .*: delete .*caption and run"):
        load_checkpoint(str(folder))


def test_a_missing_file_of_a_finished_stage_is_reported(tmp_path: Path, trained: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "caption")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors is missing"):
        load_checkpoint(str(folder))


def test_a_copied_stage_is_intact(tmp_path: Path, trained: Path) -> None:
    check_stage_files(Path(shutil.copytree(trained, tmp_path / "caption")))


def test_untouched_weights_are_not_read_again(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sg.artefacts.checkpoint.file_content", None)
    check_stage_files(trained)


@pytest.fixture
def shared_folder_umask() -> Iterator[None]:
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("shared_folder_umask")
def test_the_files_of_a_stage_have_the_permissions_of_the_umask(tmp_path: Path) -> None:
    folder = train(tmp_path / "caption")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}
    assert set(modes.values()) == {0o664}, modes


def damage(path: Path, kind: str) -> None:
    whole = path.read_bytes()
    contents = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "garbage": b"garbage" * 100,
        "one bit": whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :],
    }
    if kind == "another file":
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(contents[kind])


@pytest.mark.parametrize("kind", ["empty", "cut", "garbage", "one bit", "another file"])
def test_a_damaged_resume_checkpoint_leads_to_the_beginning_of_the_stage(
    tmp_path: Path, trained: Path, stopped: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(stopped, tmp_path / "caption")
    (saved,) = (folder / "resume").glob("*.ckpt")
    damage(saved, kind)
    train(folder)
    assert f"{saved} is damaged" in caplog.text
    calm, again = weights(trained), weights(folder)
    assert all(torch.equal(calm[key], again[key]) for key in calm)
    assert read_stage_info(folder) is not None
    assert not (folder / "resume").exists()


def test_an_older_checkpoint_is_used_where_the_last_one_is_damaged(
    tmp_path: Path, trained: Path, stopped: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = shutil.copytree(stopped, tmp_path / "caption")
    (saved,) = (folder / "resume").glob("*.ckpt")
    assert saved.name == "step=4.ckpt"
    saved.rename(folder / "resume" / "step=4-v1.ckpt")
    (folder / "resume" / "step=4.ckpt").write_bytes(b"")
    (folder / "resume" / "step=6.ckpt").write_bytes(b"")
    train(folder)
    assert "step=6.ckpt is damaged" in caplog.text
    assert "resumes from step=4-v1" in caplog.text
    calm, again = weights(trained), weights(folder)
    assert all(torch.equal(calm[key], again[key]) for key in calm)


def test_a_stage_whose_record_is_gone_is_trained_again(tmp_path: Path, trained: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "caption")
    (folder / "stage.json").unlink()
    check_stage_files(folder)
    train(folder)
    calm, again = weights(trained), weights(folder)
    assert all(torch.equal(calm[key], again[key]) for key in calm)
    assert read_stage_info(folder) is not None


@pytest.mark.parametrize("name", ["tokenizer_config.json", "stage.json"])
def test_a_process_that_dies_before_a_file_has_its_name_leaves_an_unfinished_stage(
    tmp_path: Path, trained: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temporary file stays, as after SIGKILL."""
    folder, replace = tmp_path / "caption", Path.replace

    def die(path: Path, target: Path) -> Path:
        if target.name != name:
            return replace(path, target)
        shutil.copy(path, path.with_name(f".{name}.host-1-0badcafe.tmp.json"))
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Path, "replace", die)
        train(folder)
    assert read_stage_info(folder) is None
    train(folder)
    calm, again = weights(trained), weights(folder)
    assert all(torch.equal(calm[key], again[key]) for key in calm)
    check_stage_files(folder)


def test_damaged_rows_of_the_loss_curve_are_left_out(tmp_path: Path, stopped: Path) -> None:
    folder = shutil.copytree(stopped, tmp_path / "caption")
    flip(folder / "loss.csv", 80)
    (folder / "loss.csv").write_bytes((folder / "loss.csv").read_bytes() + b"\0\0\xff\n5,garbage\n")
    train(folder)
    assert read_stage_info(folder) is not None


def test_the_resume_folder_goes_only_after_the_finished_stage_is_on_the_disk(
    tmp_path: Path, trained: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(stopped, tmp_path / "caption")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr("sg.artefacts.checkpoint.finish_file", full)
        train(folder)
    assert list((folder / "resume").glob("*.ckpt"))
    assert read_stage_info(folder) is None
    train(folder)
    calm, again = weights(trained), weights(folder)
    assert all(torch.equal(calm[key], again[key]) for key in calm)
