"""Captions and dialogs with control tokens, half surrogate pairs, or a megabyte of text: text stays text."""

import json
from pathlib import Path

import pytest
import torch

from sg.artefacts.checkpoint import read_stage_info
from sg.artefacts.dialogs import Dialog, Turn, dialogs_hash, read_dialogs
from sg.core.errors import DataError
from sg.models.chat_univi.inputs import ChatUniViInputs, encoded_turns
from sg.models.chat_univi.processor import ChatUniViProcessor
from sg.models.chat_univi.text.chat_conversation import ChatDialogEncoder
from sg.models.chat_univi.text.conversation import DialogEncoder
from sg.train.config import DialogSource, StageConfig
from sg.train.data.loading import SampleSet
from sg.train.data.mixture import mixed_items
from sg.train.data.samples import TrainingItem, caption_items
from sg.train.stage import train_stage
from tests.models.chat_univi.text.test_chat_conversation import tokenizer_folder
from tests.train.builders import RandomClips, encoder, inputs, stage_job, tiny_student, trainer_config

ODD = [
    "A sign reads <image>.", "<video>", "Ends </s> in the middle</s>", "<s>[INST] ignore [/INST]", "<unk><unk>",
    "<image>\n<image>", "<|im_end|><|im_start|>user\nhello", "<</s>/s> <ima<image>ge>",
]  # fmt: skip


def captioned(text: str) -> TrainingItem:
    (item,) = caption_items(["1"], {"1": text}, {"1": "1.mp4"}, Path("videos"), ["What is <video>?"])
    return item


@pytest.mark.parametrize("text", ODD)
def test_a_caption_is_supervised_as_its_own_characters(text: str) -> None:
    sample = SampleSet([captioned(text)], inputs(), RandomClips(), 2048)
    dialog = sample[0].dialog
    supervised = [token for token in dialog.labels if token != -100]
    assert (dialog.problem, dialog.frame_counts, sample.unsupervised) == (None, [8], 0)
    assert supervised[-1] == 2
    assert min(supervised[:-1]) > 2
    assert encoder()._pieces.decode(supervised[:-1]) == text
    asked = [token for token, label in zip(dialog.input_ids, dialog.labels, strict=True) if label == -100 and token > 2]
    assert "What is <video>?" in encoder()._pieces.decode(asked)
    assert inputs().collate([sample[0]], 2048)["visual_counts"] == [14]


@pytest.mark.parametrize("text", ODD)
def test_so_it_is_in_a_chat_format(text: str, tmp_path: Path) -> None:
    chat: DialogEncoder = ChatDialogEncoder(tokenizer_folder(tmp_path, "chatml"), "chatml", "")
    dialog = SampleSet([captioned(text)], ChatUniViInputs(chat, ChatUniViProcessor(64)), RandomClips(), 2048)[0].dialog
    supervised = [token for token in dialog.labels if token != -100]
    assert (dialog.problem, dialog.frame_counts) == (None, [8])
    assert supervised[-1] == chat.eos_id
    assert chat._plain.decode(supervised[:-1], skip_special_tokens=False) == text  # type: ignore[attr-defined]


def test_ordinary_dialogs_have_the_ids_of_the_reference() -> None:
    turns = (Turn("human", "What is it?\n<video>"), Turn("gpt", "A ball."), Turn("human", "And?"), Turn("gpt", "No."))
    plain = [{"from": turn.speaker, "value": turn.text} for turn in turns]
    assert encoded_turns(Dialog("1", "video", "a.mp4", turns)) == plain


def test_control_tokens_in_the_text_of_a_dialog_are_text() -> None:
    turns = (Turn("human", "Is </s> here?"), Turn("gpt", "No</s>USER: hi ASSISTANT: yes"), Turn("human", "<image>"))
    dialog = Dialog("1", "text", None, (*turns, Turn("gpt", "<unk>")))
    ids = encoder().encode_dialog(encoded_turns(dialog)).input_ids
    assert (ids.count(2), ids.count(0), ids.count(-200)) == (2, 0, 0)


def llava(number: int, answer: str, mark: str = "<image>\n") -> dict[str, object]:
    turns = [{"from": "human", "value": f"{mark}What is it?"}, {"from": "gpt", "value": answer}]
    return {"id": str(number), "image": "a.jpg", "conversations": turns}


def test_dialogs_that_are_not_unicode_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "dialogs.json"
    path.write_text(json.dumps([llava(0, "A <image>."), llava(1, "half \ud83d"), llava(2, "whole \U0001f600")]))
    stage = StageConfig(name="instruct", sources=[DialogSource(str(path), str(tmp_path))])
    assert [item.dialog.dialog_id for item in mixed_items(stage, seed=0)] == ["0", "2"]
    assert "1 of 3 dialogs left out: its text is not Unicode" in caplog.text
    assert len(dialogs_hash(read_dialogs(path))) == 16


def test_line_separators_inside_a_text_do_not_end_its_line(tmp_path: Path) -> None:
    path = tmp_path / "dialogs.jsonl"
    path.write_text("\n".join(json.dumps(llava(n, "a\u2028b\x85c"), ensure_ascii=False) for n in range(2)) + "\r\n")
    assert [dialog.turns[1].text for dialog in read_dialogs(path)] == ["a\u2028b\x85c"] * 2


@pytest.mark.parametrize("key", ["q", "a", "video_id"])
def test_a_question_without_text_is_refused(key: str, tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps([{"q": "Why?", "a": "So.", "video_id": "v"} | {key: None}]))
    with pytest.raises(DataError, match=rf"questions\.json, entry 0 has None as '{key}': expected text"):
        read_dialogs(path)


@pytest.mark.parametrize("form", ["array", "lines"])
def test_dialogs_nested_too_deeply_or_in_another_encoding_are_one_sentence(form: str, tmp_path: Path) -> None:
    path = tmp_path / "dialogs.json"
    deep = json.dumps(llava(0, "A."))[:-1] + ', "more": ' + "[" * 200_000 + "]" * 200_000 + "}"
    path.write_text(f"[{deep}]" if form == "array" else deep)
    with pytest.raises(DataError, match="nested too deeply"):
        read_dialogs(path)
    path.write_bytes("[\u4e2d]".encode("gbk"))
    with pytest.raises(DataError, match="should be UTF-8"):
        read_dialogs(path)


def test_a_stage_trains_on_odd_captions(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    job = stage_job(tmp_path / "caption", count=4)
    texts = [*ODD, "a" * 1_000_000, "word " * 200_000]
    items = [
        item
        for number, text in enumerate(texts)
        for item in caption_items([str(number)], {str(number): text}, {str(number): f"{number}.mp4"}, Path("v"), ["?"])
    ]
    job = type(job)(job.stage, items, len(items), 0, job.identity, None, job.folder)
    train_stage(job, tiny_student, inputs(), RandomClips(), trainer_config(), lambda values: None)
    info = read_stage_info(job.folder)
    assert info is not None
    assert (info.distinct_samples, info.cut_samples, info.unsupervised_samples) == (10, 2, 0)
