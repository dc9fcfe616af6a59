"""Training of one stage: what is trained, reuse, and resuming after a kill with the same result."""

import csv
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from sg.artefacts.checkpoint import LOSS_FILE, read_stage_info
from sg.artefacts.dialogs import Dialog, Turn
from sg.core.errors import DataError, ModelError
from sg.models.chat_univi.build import build_encoder
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.settings import ModelConfig
from sg.train.data.loading import SampleSet
from sg.train.data.samples import TrainingItem
from sg.train.stage import StageJob, train_stage
from tests.train.builders import RandomClips, encoder, inputs, stage_job, tiny_model, tiny_student, trainer_config
from tests.train.member import Stopped, fail_after


def train(job: StageJob, **settings: object) -> bool:
    """Train the stage; True if its checkpoint existed."""
    torch.set_num_threads(1)
    return train_stage(job, tiny_student, inputs(), RandomClips(), trainer_config(**settings), lambda values: None)[1]


def losses(folder: Path) -> list[float]:
    with (folder / LOSS_FILE).open() as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return ChatUniViForConditionalGeneration.from_pretrained(folder).state_dict()


def test_a_stage_learns_and_its_checkpoint_is_reused(tmp_path: Path) -> None:
    job = stage_job(tmp_path / "caption", epochs=3, learning_rate=1e-2)
    assert train(job) is False
    curve = losses(job.folder)
    assert len(curve) == job.steps == 30
    assert sum(curve[-5:]) < 0.8 * sum(curve[:5])
    assert train(job) is True
    info = read_stage_info(job.folder)
    assert info is not None
    assert (info.steps, info.samples, info.distinct_samples) == (30, 120, 40)
    with pytest.raises(DataError, match=rf"holds another stage, {info.stage}-{info.fingerprint}: give it the name"):
        read_stage_info(job.folder, "that-of-another-seed")
    assert not (job.folder / "resume").exists()


def test_the_folder_of_a_stage_is_enough_to_load_the_model_and_its_tokenizer(tmp_path: Path) -> None:
    job = stage_job(tmp_path / "caption", count=4)
    train(job)
    config = ModelConfig(name="trained", checkpoint=str(job.folder), system_prompt="")
    dialog = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "A red ball."}]
    assert build_encoder(config).encode_dialog(dialog) == encoder().encode_dialog(dialog)
    tokenizer = AutoTokenizer.from_pretrained(job.folder)
    assert tokenizer("A red ball.").input_ids == [1, *encoder().encode_text("A red ball.")]
    assert tokenizer.decode(tokenizer("A red ball.").input_ids, skip_special_tokens=True).strip() == "A red ball."


def test_align_trains_only_the_projector(tmp_path: Path) -> None:
    job = stage_job(tmp_path / "align", trains=["connector"])
    train(job)
    before, after = tiny_model().state_dict(), weights(job.folder)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"mm_projector.weight", "mm_projector.bias"}


def test_the_caption_stage_does_not_change_the_tower(tmp_path: Path) -> None:
    job = stage_job(tmp_path / "caption")
    train(job)
    before, after = tiny_model().state_dict(), weights(job.folder)
    assert all(torch.equal(before[key], after[key]) for key in before if key.startswith("vision_tower."))
    assert not torch.equal(before["lm_head.weight"], after["lm_head.weight"])


def test_accumulated_micro_batches_take_the_steps_of_the_global_batch(tmp_path: Path) -> None:
    job = stage_job(tmp_path / "caption", batch_size=8, micro_batch_size=2)
    train(job)
    assert len(losses(job.folder)) == job.steps == 5


def test_a_stage_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Stage caption has no samples"):
        train(stage_job(tmp_path / "caption", count=0))


def test_a_stage_of_one_step_changes_its_weights(tmp_path: Path) -> None:
    job = stage_job(tmp_path / "caption", count=3)
    train(job)
    before, after = tiny_model().state_dict(), weights(job.folder)
    assert (job.steps, losses(job.folder)[1:]) == (1, [])
    assert not torch.equal(before["mm_projector.weight"], after["mm_projector.weight"])


def test_a_stage_in_which_nothing_is_supervised_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"caption would train nothing.*40 of 40 .* 20 ids .*max_length=20") as caught:
        train(stage_job(tmp_path / "caption", max_length=20))
    assert "\n" not in str(caught.value)
    assert read_stage_info(tmp_path / "caption") is None


def test_samples_that_are_cut_or_lack_an_answer_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = stage_job(tmp_path / "caption", count=12, max_length=60)
    turns = (Turn("human", "<video>\n" + "What is it? " * 40), Turn("gpt", "A red ball."))
    long = [replace(item, dialog=replace(item.dialog, turns=turns)) for item in job.items[:3]]
    turns = (Turn("human", "<video>\nWhat is it?"), Turn("gpt", ""))
    empty = [replace(item, dialog=replace(item.dialog, turns=turns)) for item in job.items[3:4]]
    train(replace(job, items=[*long, *empty, *job.items[4:]]))
    info = read_stage_info(job.folder)
    assert info is not None
    assert (info.samples, info.distinct_samples, info.cut_samples, info.unsupervised_samples) == (12, 8, 3, 4)
    assert "stage caption: 3 of 12 samples are cut to max_length=60 ids" in caplog.text
    assert "3 of 12 samples have no supervised token: their first 60 ids hold no answer" in caplog.text
    assert "1 of 12 samples have no supervised token: has an empty message" in caplog.text


def test_text_alone_is_cut_at_the_length_of_its_stage(tmp_path: Path) -> None:
    turns = (Turn("human", "word " * 3000), Turn("gpt", "A red ball."))
    long = [TrainingItem(Dialog("1", "text", None, turns), None)]
    kept, cut = (SampleSet(long, inputs(), RandomClips(), length) for length in (16384, 2048))
    assert (kept.cut, kept.unsupervised, int(kept.lengths[0]) > 3000) == (0, 0, True)
    assert (cut.cut, cut.unsupervised, int(cut.lengths[0])) == (1, 1, 2048)


def test_a_stage_that_changes_no_weight_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sg.train.module.learning_rate_factor", lambda *args: 0.0)
    job = stage_job(tmp_path / "caption", count=4)
    with pytest.raises(ModelError, match=r"Stage caption changed no weight in float32: raise stage\.caption\.learn"):
        train(job)
    assert read_stage_info(job.folder) is None


def test_a_stage_that_diverges_is_refused(tmp_path: Path) -> None:
    job = stage_job(tmp_path / "caption", learning_rate=1e30, gradient_clip=0.0)
    with pytest.raises(ModelError, match=r"Stage caption diverged: .* holds NaN or infinite values; lower stage\.capt"):
        train(job)
    assert read_stage_info(job.folder) is None


def _train_until(folder: str, step: int) -> None:
    import sg.train.callbacks as callbacks

    original = callbacks.LossCurve.on_train_batch_end

    def killed(self: object, trainer: object, *args: object) -> None:
        original(self, trainer, *args)  # type: ignore[arg-type]
        if trainer.global_step >= step:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks.LossCurve.on_train_batch_end = killed  # type: ignore[method-assign,assignment]
    train(stage_job(Path(folder), epochs=2))


@pytest.mark.slow
def test_a_stage_that_is_killed_three_times_has_the_curve_and_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    train(stage_job(tmp_path / "calm", epochs=2))
    for step in (3, 9, 18):  # before the first checkpoint, after the second, near the end
        process = multiprocessing.get_context("spawn").Process(
            target=_train_until, args=(str(tmp_path / "killed"), step)
        )
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert read_stage_info(tmp_path / "killed") is None
    train(stage_job(tmp_path / "killed", epochs=2))
    assert losses(tmp_path / "killed") == pytest.approx(losses(tmp_path / "calm"), abs=1e-6)
    calm, killed = weights(tmp_path / "calm"), weights(tmp_path / "killed")
    assert all(torch.equal(calm[key], killed[key]) for key in calm)


def test_a_saved_state_without_the_trained_weights_is_refused(tmp_path: Path) -> None:
    fail_after(5)
    try:
        with pytest.raises(Stopped):
            train(stage_job(tmp_path / "caption"))
    finally:
        fail_after(None)
    (saved,) = (tmp_path / "caption" / "resume").glob("*.ckpt")
    state = torch.load(saved, weights_only=False)
    state["state_dict"] = {f"old.{key}": value for key, value in state["state_dict"].items()}
    torch.save(state, saved)
    with pytest.raises(ModelError, match="another version of this code"):
        train(stage_job(tmp_path / "caption"))


def test_a_stage_resumes_with_other_micro_batches(tmp_path: Path) -> None:
    train(stage_job(tmp_path / "calm"))
    fail_after(5)
    try:
        with pytest.raises(Stopped):
            train(stage_job(tmp_path / "stopped"))
    finally:
        fail_after(None)
    train(stage_job(tmp_path / "stopped", micro_batch_size=1))
    assert losses(tmp_path / "stopped") == pytest.approx(losses(tmp_path / "calm"), abs=1e-5)
