"""Several files of dialogs with their weights, and media that are checked before training."""

import json
from collections import Counter
from pathlib import Path

import pytest

from sg.artefacts.dialogs import Dialog, Turn, read_dialogs
from sg.core.content import file_stamp
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.train.config import DialogSource, StageConfig
from sg.train.data.media import ClipFiles
from sg.train.data.mixture import check_clip_names, dialog_problem, mixed_items, usable_items
from sg.train.data.samples import clips_of, items_of


def llava(number: int, **medium: object) -> dict[str, object]:
    mark = "<video>\n" if "video" in medium else "<image>\n" if "image" in medium else ""
    turns = [{"from": "human", "value": f"{mark}What is it?"}, {"from": "gpt", "value": "A ball."}]
    return {"id": str(number), **medium, "conversations": turns}


def source(folder: Path, name: str, entries: list[dict[str, object]], weight: float = 1.0) -> DialogSource:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(entries))
    return DialogSource(str(path), str(folder / name), name, weight)


def stage(*sources: DialogSource, **settings: object) -> StageConfig:
    return StageConfig(name="instruct", sources=list(sources), **settings)  # type: ignore[arg-type]


def test_videos_images_and_text_of_several_sources_are_mixed(tmp_path: Path) -> None:
    valley = source(tmp_path, "valley", [llava(0, video="001/a.mp4") | {"v_id": "7", "source": "webvid"}])
    pictures = source(tmp_path, "pictures", [llava(1, image="b.jpg"), llava(2), llava(3, image=["c.jpg"])])
    questions = [{"q": "Why?", "a": "So.", "video_id": "v_1"}, {"q": "Who?", "a": "She.", "video_id": "v_2.mkv"}]
    chat = source(tmp_path, "chat", list(map(dict, questions)))
    items = mixed_items(stage(valley, pictures, chat), seed=0)
    assert [item.dialog.kind for item in items] == ["video", "image", "text", "image", "video", "video"]
    assert [item.clip.path if item.clip else None for item in items] == [
        tmp_path / "valley" / "001/a.mp4", tmp_path / "pictures" / "b.jpg", None, tmp_path / "pictures" / "c.jpg",
        tmp_path / "chat" / "v_1.mp4", tmp_path / "chat" / "v_2.mkv",
    ]  # fmt: skip
    assert items[0].clip is not None
    assert items[0].clip.key == "valley/001/a.mp4"


def test_the_weight_of_a_source_is_how_often_its_dialogs_are_seen(tmp_path: Path) -> None:
    often = source(tmp_path, "often", [llava(number) for number in range(10)], weight=2.5)
    seldom = source(tmp_path, "seldom", [llava(100 + number) for number in range(10)], weight=0.3)
    mixed = mixed_items(stage(often, seldom), seed=3)
    counts = Counter(item.dialog.dialog_id for item in mixed)
    assert Counter(counts[str(number)] for number in range(10)) == {2: 5, 3: 5}
    assert sum(counts[str(100 + number)] for number in range(10)) == 3
    assert mixed == mixed_items(stage(often, seldom), seed=3)
    assert mixed != mixed_items(stage(often, seldom), seed=4)


def test_a_weight_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"weight 0.* should be above 0"):
        DialogSource("a.json", "media", weight=0)


@pytest.mark.parametrize(
    ("turns", "media", "problem"),
    [
        (["human:<video> Q", "gpt:A"], "a.mp4", None),
        (["gpt:A", "human:<video> Q", "gpt:A"], "a.mp4", None),
        (["human:Q", "gpt:A"], None, None),
        (["human:Q", "gpt:A"], "a.mp4", "not exactly one"),
        (["human:<image> or <image>?", "gpt:A"], "a.jpg", "not exactly one"),
        (["human:Q", "human:Q", "gpt:A"], None, "do not alternate"),
        (["human:Q"], None, "do not alternate"),
        (["human:<video>", "gpt:<image> <video>"], "a.mp4", None),
        (["human:<video>", "gpt:\ud83d"], "a.mp4", "not Unicode"),
    ],
)
def test_dialogs_that_cannot_be_trained_on_have_a_reason(
    turns: list[str], media: str | None, problem: str | None
) -> None:
    made = tuple(Turn(*turn.split(":", 1)) for turn in turns)
    found = dialog_problem(Dialog("1", "video", media, made))
    assert found is None if problem is None else found is not None and problem in found


def test_such_dialogs_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = llava(1, video="a.mp4") | {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}
    mixed = mixed_items(stage(source(tmp_path, "mixed", [llava(0, video="a.mp4"), bad])), seed=0)
    assert [item.dialog.dialog_id for item in mixed] == ["0"]
    assert "1 of 2 dialogs left out" in caplog.text


def test_media_that_are_missing_or_unreadable_stop_a_run_unless_they_may_be_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries = [llava(number, video=f"{number}.mp4") for number in range(8)] + [llava(8)]
    own = source(tmp_path, "valley", entries)
    (tmp_path / "valley").mkdir()
    for number in range(6):
        (tmp_path / "valley" / f"{number}.mp4").touch()
    items = mixed_items(stage(own), seed=0)
    files = ClipFiles(tmp_path, None)
    broken = next(clip for clip in clips_of(items) if clip.key.endswith("/5.mp4"))
    files.record([broken], {broken.key: file_stamp(broken.path)}, {broken.key: "no video stream"})
    media = files.look(clips_of(items))
    with pytest.raises(
        MissingInputError,
        match=r"3 of 9 samples lack their media \(missing: 2 in .*; 1 cannot be read, such as .*5\.mp4: no video "
        r"stream\).*stage\.max_missing=0\.334",
    ) as error:
        usable_items(stage(own), items, media, 0.0)
    assert "\n" not in str(error.value)
    kept = usable_items(stage(own), items, media, 0.334)
    assert [item.dialog.dialog_id for item in kept] == ["0", "1", "2", "3", "4", "8"]
    assert "3 of 9 samples left out" in caplog.text
    assert usable_items(stage(own), items, media, 0.0, is_strict=False) == items
    broken.path.write_bytes(b"repaired")
    assert broken.key not in files.look(clips_of(items)).problems


@pytest.mark.parametrize("name", ["valley", ""])
def test_media_outside_of_their_folder_are_not_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    outside = tmp_path / "secret.mp4"
    outside.touch()
    (tmp_path / "media" / "..a.mp4").touch()
    paths = ["../secret.mp4", str(outside), "a/../../secret.mp4", "\0.mp4", "./..a.mp4"]
    dialogs = [Dialog(path, "video", path, (Turn("human", "<video>"), Turn("gpt", "A"))) for path in paths]
    items = items_of(dialogs, tmp_path / "media", name)
    media = ClipFiles(tmp_path, None).look(clips_of(items))
    assert list(media.problems.values()) == ["its path leads out of the folder of the media"] * 4
    assert [clip.path.name for clip in media.unknown.values()] == ["..a.mp4"]
    with pytest.raises(MissingInputError, match=r"4 cannot be read, such as .*: its path leads out"):
        usable_items(stage(source(tmp_path, "s", [])), items, media, 0.0)


def test_equal_names_of_different_media_are_refused(tmp_path: Path) -> None:
    dialogs = [Dialog("1", "image", "1.jpg", (Turn("human", "<image>"), Turn("gpt", "A")))]
    coco, other = items_of(dialogs, tmp_path / "coco"), items_of(dialogs, tmp_path / "other")
    check_clip_names([*coco, *coco])
    with pytest.raises(DataError, match=r"would share the key '1\.jpg'"):
        check_clip_names([*coco, *other])
    check_clip_names([*coco, *items_of(dialogs, tmp_path / "other", "other")])


def test_several_media_in_one_dialog_are_refused(tmp_path: Path) -> None:
    own = source(tmp_path, "two", [llava(0, image=["a.jpg", "b.jpg"])])
    with pytest.raises(DataError, match="several media"):
        read_dialogs(Path(own.dialogs))
