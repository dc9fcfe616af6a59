"""The gates accept good captions and find each fault, and prompts change only with their version."""

import json
from pathlib import Path

import pytest

from benchmarks.caption.openings import LISTS, is_rejected, openings
from sg.caption.hosted.prompting import FOLDER, read_prompt, word_window
from sg.caption.quality.duplicates import Repeated, near_duplicates
from sg.caption.quality.gates import PASS, Judged, judge, lexicon, worst
from sg.core.errors import ConfigError
from tests.caption.hosted.fake_gemini.answers import caption_text

GOOD = caption_text("a")
GERMAN = (
    "Ein Mann in einem roten Mantel geht langsam durch den Garten und trägt einen Korb. Danach setzt er sich auf eine "
    "alte Bank, während hinter ihm zwei Kinder mit einem Hund über die Wiese laufen und lachen. Am Ende dreht sich die "
    "Kamera nach links und zeigt das Haus am See im warmen Licht der Sonne, während die Kinder zum Wasser rennen und "
    "Steine werfen."
)


def failing(text: str, **values: object) -> set[str]:
    known: dict[str, object] = {"duration_s": 18.0, "has_audio": False, "words": (100, 200)} | values
    return {verdict.gate for verdict in judge(Judged(text, **known)) if verdict.verdict != PASS}  # type: ignore[arg-type]


def test_a_good_caption_passes_every_gate() -> None:
    assert not failing(GOOD) and worst(judge(Judged(GOOD, 18.0, False))) == PASS


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        (GOOD[:-1], "finish"),
        ("A man walks.", "length"),
        ("I'm sorry, but I cannot describe this. " + GOOD, "chat"),
        (GOOD + " No video was provided.", "refusal"),
        ("As an AI language model I see this. " + GOOD, "refusal"),
        (GOOD + " A Shutterstock watermark is visible.", "meta"),
        (GOOD + " See https://example.com for more.", "meta"),
        (GOOD + " <b>Bold</b>.", "meta"),
        (GOOD + " The sign says &quot;Open&quot;.", "meta"),
        ("```json\n" + GOOD, "chat"),
        (GOOD + " In frame 12 he stops.", "meta"),
        (GOOD + " <video>.", "tokens"),
        (GOOD + " <Image>.", "tokens"),
        (GERMAN, "language"),
        ("The man walks to the door and opens it with the key. " * 9, "repetition"),
        (GOOD + " Upbeat music is playing and a narrator speaks.", "audio"),
        (GOOD + " At 01:30 the camera turns.", "time"),
        (GOOD + " \u202etxet.", "characters"),
        (GOOD + " \x1b[31m.", "characters"),
    ],
)  # fmt: skip
def test_each_gate_finds_its_fault(text: str, gate: str) -> None:
    assert gate in failing(text)


def test_a_caption_does_not_repeat_its_prompt() -> None:
    """A model that was not trained to follow instructions continues the prompt, or says it again."""
    asked = read_prompt("dense_en").user(18.0, has_audio=True)
    for text in (asked, asked[40:600], GOOD[:120] + asked[200:600]):
        assert "meta" in failing(text, asked=asked)
    assert not failing(GOOD, asked=asked)
    assert not failing(GOOD + " People, animals and objects with colour are on the wall.", asked=asked)


def test_gates_accept_what_is_not_a_fault() -> None:
    assert "audio" not in failing(GOOD + " The video has no sound of any kind.")
    assert "audio" not in failing(GOOD + " Music is heard.", has_audio=True)
    assert "finish" in failing(GOOD, finish_reason="MAX_TOKENS")
    assert "audio" in failing(GOOD, audio_field="music") and "refusal" in failing(GOOD, refused_field=True)


@pytest.mark.parametrize(("name", "count"), [("openings.tsv", 300), ("openings_second.tsv", 60)])
def test_openings_of_chat_are_rejected_and_good_openings_are_not(name: str, count: int) -> None:
    """Preambles, labels, thoughts, markdown and refusals in twelve languages (`benchmarks/caption/openings.py`)."""
    rows = list(openings(LISTS / name))
    assert len(rows) == count and len({language for _, language, _, _ in rows}) == 12
    assert [text for is_bad, _, _, text in rows if is_rejected(text) and not is_bad] == []
    assert [text for is_bad, _, _, text in rows if not is_rejected(text) and is_bad] == []


def test_each_language_has_its_openings_in_the_lexicon() -> None:
    languages = lexicon()["openings"]
    assert sorted(languages) == ["ar", "bn", "de", "en", "es", "fr", "hi", "id", "ja", "pt", "ru", "zh"]


@pytest.mark.parametrize(
    "end", ["Let me know if you need more.", "I hope this helps!", "Would you like me to shorten it?"]
)
def test_a_caption_does_not_end_with_chat(end: str) -> None:
    assert "chat" in failing(f"{GOOD} {end}")


def test_texts_that_many_videos_share_are_found_and_nearly_equal_texts_too() -> None:
    found = {most: Repeated(most) for most in (3, 6)}
    for text in ["A black screen!"] * 5 + ["a black  screen", GOOD]:
        for repeated in found.values():
            repeated.note(text)
    assert "a black, screen" in found[3] and len(found[3]) == 6 and GOOD not in found[3]
    assert len(found[6]) == 0 and "a black screen" not in found[6]
    near = near_duplicates(
        lambda: [("a", GOOD), ("c", caption_text("c")), ("b", GOOD.replace("Finally", "Then")), ("d", GOOD)]
    )
    assert [(pair[0], pair[1]) for pair in near] == [("a", "b"), ("a", "d")]
    assert near[0][2] < near[1][2] == 1.0


def test_the_wanted_number_of_words_depends_on_the_duration() -> None:
    assert [word_window(s) for s in (5, 18, 60, 600)] == [(60, 120), (100, 200), (150, 300), (250, 450)]


def test_a_prompt_says_how_long_its_captions_should_be(tmp_path: Path) -> None:
    def written(words: str, wish: str) -> Path:
        parts = {"system": "You write captions.", "user": f"Describe the clip. {wish}", "audio: silent": "Silent.",
                 "audio: sound": "Sound.", "stricter": "Again."}  # fmt: skip
        head = f"---\nid: mine\nversion: 1\n{words}---\n"
        (tmp_path / "mine.md").write_text(head + "".join(f"# {k}\n{v}\n\n" for k, v in parts.items()), encoding="utf-8")
        return tmp_path / "mine.md"

    silent = read_prompt(str(written("", "Write one short sentence.")))
    assert silent.words(18) is None and "length" not in failing("A man walks.", words=silent.words(18))
    asked = read_prompt(str(written("", "Write {min_words} words.")))
    assert asked.words(18) == (100, 200) and "length" in failing("A man walks.", words=asked.words(18))
    own = read_prompt(str(written("words: 5-20\n", "Write {min_words} to {max_words} words.")))
    assert own.words(18) == (5, 20) and own.user(18, None).startswith("Describe the clip. Write 5 to 20 words.")
    assert "length" not in failing("A man walks.", words=(5, 20)) and "length" in failing("A man.", words=(5, 20))
    assert len({silent.content_hash, asked.content_hash, own.content_hash}) == 3
    for words in ("20-5", "many", "0-5"):
        with pytest.raises(ConfigError, match=r"should have words: LOW-HIGH in its front matter"):
            read_prompt(str(written(f"words: {words}\n", "")))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("# stricter\n", "# Task\nDo it well.\n\n# stricter\n", "has the section '# Task', which would not be sent"),
        ("# stricter\n", "# user\nMore.\n\n# stricter\n", "has the section '# user' twice"),
        ("# system\n", "Look.\n# system\n", "has text before its first section, which would not be sent"),
        ("changelog:", "word: 5-20\nchangelog:", r"the key 'word' in its front matter \(did you mean words"),
        ("changelog:", "words: 5-20\nwords: 9-9\nchangelog:", "has the key 'words' twice in its front matter"),
        ("changelog:", "words 5-20\nchangelog:", "has the line 'words 5-20' in its front matter without a colon"),
        ("changelog:", "schema: none\nchangelog:", "has schema: none, expected schema: caption"),
        ("version: 1", "version:", "should have id and version in its front matter"),
        ("language: en", "language: EN", r"language: 'EN' .* two small letters \(ISO 639-1\)"),
        ("language: en", "language: en # English", r"language: 'en # English' .* two small letters"),
        ("{min_words}", "{min_word}", r"has {min_word} \(did you mean min_words"),
    ],
)
def test_a_part_of_a_prompt_that_would_not_be_used_is_refused(old: str, new: str, reason: str, tmp_path: Path) -> None:
    path, text = tmp_path / "mine.md", (FOLDER / "dense_en.md").read_text(encoding="utf-8")
    path.write_text(text.replace(old, new), encoding="utf-8-sig")
    with pytest.raises(ConfigError, match=reason):
        read_prompt(str(path))
    path.write_text(
        text.replace("changelog:", "author: Ada\nchangelog:\n  version: 9\n  words are fewer\n"), encoding="utf-8-sig"
    )
    assert read_prompt(str(path)).content_hash == read_prompt("dense_en").content_hash
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(ConfigError, match="not a text in UTF-8"):
        read_prompt(str(path))


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.md")))
def test_a_changed_prompt_has_a_new_version(name: str) -> None:
    """The hashes of released versions: raise `version` in the prompt and add a line to the file, never edit a line."""
    released = json.loads((Path(__file__).parent / "released_prompts.json").read_text(encoding="utf-8"))
    prompt = read_prompt(name)
    assert released[f"{prompt.prompt_id}@{prompt.version}"] == prompt.content_hash


def test_prompts_are_files_with_all_their_parts(tmp_path: Path) -> None:
    path = tmp_path / "mine.md"
    path.write_text(
        (FOLDER / "dense_en.md").read_text(encoding="utf-8").replace("# stricter", "# other"), encoding="utf-8"
    )
    with pytest.raises(ConfigError, match="has no section '# stricter'"):
        read_prompt(str(path))
    with pytest.raises(ConfigError, match="There is no prompt 'nothing': choose one of dense_en"):
        read_prompt("nothing")
    text = read_prompt("dense_en").user(18, None, stricter=True)
    assert "{" not in text and "exactly one plain paragraph of 100-200 words" in text
