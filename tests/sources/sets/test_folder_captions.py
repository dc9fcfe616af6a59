"""Captions of a folder of videos: each goes to its own video or to none."""

import pytest

from sg.sources.files.disk import VideoFile
from sg.sources.scan.caption_files import CaptionEntry
from sg.sources.scan.caption_matching import match_captions


def matched(captions: list[str], files: list[str]) -> tuple[dict[str, str], list[str], list[str], int]:
    """Caption by file, where each caption is the name in its row; missing and ambiguous names; second captions."""
    entries = [CaptionEntry(name, name) for name in captions]
    found = match_captions(entries, [VideoFile(name, name, 1, 1) for name in files])
    names = [
        [one.entry.video for one in found.unmatched if (one.status == "ambiguous") is kind] for kind in (False, True)
    ]
    return {name: entry.caption for name, entry in found.captions.items()}, names[0], names[1], found.num_second


def test_many_captions_without_a_video_are_counted_and_kept_in_their_order() -> None:
    names = [f"part/{number}.mp4" for number in range(25_000)]
    texts = [*names, "/out.mp4", *names[:100], "here.mp4", *names[-3:], "sp\u00e4t \ud800.mp4"]

    found, missing, ambiguous, num_second = matched(texts, ["here.mp4", "there.mp4"])

    assert found == {"here.mp4": "here.mp4"}
    assert missing == [*names, "/out.mp4", "sp\u00e4t \ud800.mp4"]
    assert (ambiguous, num_second) == ([], 103)


@pytest.mark.parametrize(
    ("captions", "files", "expected", "missing", "ambiguous"),
    [
        # Another folder, in any order of the rows; partly downloaded sets.
        (["train/1.mp4", "val/1.mp4"], ["val/1.mp4"], {"val/1.mp4": "val/1.mp4"}, ["train/1.mp4"], []),
        (["a/0.mp4", "b/0.mp4", "c/0"], ["c/0.mp4"], {"c/0.mp4": "c/0"}, ["a/0.mp4", "b/0.mp4"], []),
        (["a/0.mp4"], ["b/0.mp4"], {}, ["a/0.mp4"], []),
        # A bare name, or a longer path, where nothing contradicts it.
        (["1.mp4"], ["val/1.mp4"], {"val/1.mp4": "1.mp4"}, [], []),
        (["/old/clips/val/1.mp4"], ["val/1.mp4", "train/1.mp4"], {"val/1.mp4": "/old/clips/val/1.mp4"}, [], []),
        (["1", "val/1"], ["val/1.mp4"], {"val/1.mp4": "val/1"}, ["1"], []),
        (["1.mp4"], ["val/1.mp4", "train/1.mp4"], {}, [], ["1.mp4"]),
        (["a/1.mp4", "b/1.mp4"], ["1.mp4"], {}, [], ["a/1.mp4", "b/1.mp4"]),
        (["train/1.mp4", "1.mp4"], ["train/1.mp4", "val/1.mp4"], {"train/1.mp4": "train/1.mp4"}, [], ["1.mp4"]),
        # Names that begin at the folder of the videos: one in another folder is not the file without a folder.
        (["b/1.mp4", "d/2.mp4"], ["b/1.mp4", "2.mp4"], {"b/1.mp4": "b/1.mp4"}, ["d/2.mp4"], []),
        # Other spellings.
        (["a.AVI", "B%20c.mp4", "d\\e.mp4"], ["A.mp4", "b c.mp4", "d/e.mp4"],
         {"A.mp4": "a.AVI", "b c.mp4": "B%20c.mp4", "d/e.mp4": "d\\e.mp4"}, [], []),
        (["caf\u00e9.mp4", "~/x/[1].mp4"], ["cafe\u0301.mp4", "[1].mp4"],
         {"cafe\u0301.mp4": "caf\u00e9.mp4", "[1].mp4": "~/x/[1].mp4"}, [], []),
        (["a.mp4", "A.mp4"], ["a.mp4"], {"a.mp4": "a.mp4"}, ["A.mp4"], []),
        (["A.MP4"], ["a.mp4", "a.MP4"], {}, [], ["A.MP4"]),
        (["a b.mp4", "a%20b.mp4"], ["A b.mp4"], {}, [], ["a b.mp4", "a%20b.mp4"]),
        (["a"], ["a.mp4", "a.mkv"], {}, [], ["a"]),
        # Numbers beside an empty cell, as pandas writes them. With one other decimal, they are not whole numbers.
        (["101.0", "7.0"], ["101.mp4", "v/7.mp4"], {"101.mp4": "101.0", "v/7.mp4": "7.0"}, [], []),
        (["101.0", "102.0", "103.0"], ["101.0.mp4", "101.mp4", "102.mp4"],
         {"101.0.mp4": "101.0", "102.mp4": "102.0"}, ["103.0"], []),
        (["101.0", "101.1"], ["101.mp4"], {}, ["101.0", "101.1"], []),
    ],
)  # fmt: skip
def test_a_caption_goes_to_its_own_video_or_to_none(
    captions: list[str], files: list[str], expected: dict[str, str], missing: list[str], ambiguous: list[str]
) -> None:
    for rows in (captions, captions[::-1]):
        found, none, several, _ = matched(rows, files)
        assert (found, sorted(none), sorted(several)) == (expected, sorted(missing), sorted(ambiguous))


def test_further_captions_of_a_video_are_counted() -> None:
    assert matched(["a", "a.mp4", "b", "b", "x", "x"], ["a.mp4", "v/B.mp4"]) == (
        {"a.mp4": "a", "v/B.mp4": "b"},
        ["x"],
        [],
        3,
    )
