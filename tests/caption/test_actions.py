"""The actions of the command: estimate, status, audit, export, import, merge, doctor."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from sg.caption.actions import act
from sg.caption.config import CaptionConfig
from sg.caption.hosted.calibration import Calibration
from sg.caption.hosted.prompting import FOLDER
from sg.caption.hosted.run import estimate_run, recipe_of
from sg.caption.local.imported import ImportedCaptionerConfig
from sg.caption.quality.audit import Audit
from sg.caption.run import caption_videos
from sg.core.commands import typed
from sg.core.errors import ConfigError, MissingInputError, SgError
from sg.core.layout import CONFIG_FOLDER
from sg.video.writer import write_video
from tests.browser import Browser, check_look
from tests.caption.hosted.builder import caption, data_folder
from tests.caption.hosted.fake_gemini.faults import FaultPlan
from tests.caption.hosted.fake_gemini.state import State


def composed(folder: Path, url: str, *overrides: str) -> CaptionConfig:
    words = ["data=demo", "data.name=clips", f"data.dir={folder}", f"data.videos={folder / 'videos'}", "logger=csv"]
    words += [f"captioner.base_url={url}", "captioner.i_have_rights=true"]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        chosen = [] if any(word.startswith("captioner=") for word in overrides) else ["captioner=gemini"]
        return typed(compose("caption", [*words, *chosen, *overrides]), CaptionConfig)


def use_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands use the manifest of the test instead of making that of the demo."""
    for module in ("sg.caption.actions", "sg.caption.hosted.hosted_captioner"):
        monkeypatch.setattr(f"{module}.make_manifest", lambda data: data.manifest_path)


@pytest.fixture
def folder(tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three captioned videos, of which one has frames and one was blocked."""
    data = data_folder(tmp_path, ["a", "b", "c"])
    state.settings.plan = FaultPlan({"b": ["blocked"]})
    config = composed(tmp_path, url)
    caption(data, config.captioner)
    frames = np.full((30, 64, 64, 3), 90, np.uint8)
    write_video(tmp_path / "videos" / "a.mp4", frames, 10.0)
    use_the_manifest(monkeypatch)
    return tmp_path


def test_the_estimate_needs_neither_key_nor_permission(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    use_the_manifest(monkeypatch)
    data_folder(tmp_path, [f"v{i}" for i in range(100)])
    act(composed(tmp_path, "http://127.0.0.1:9", "dry_run=true", "captioner.i_have_rights=false"))
    shown = capsys.readouterr().out
    assert "100 (0.5 h)" in shown and "gemini-3.5-flash-lite" in shown and "cost, tier batch" in shown


def test_the_count_of_the_service_corrects_the_estimate_free_of_charge(
    tmp_path: Path, state: State, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_the_manifest(monkeypatch)
    data_folder(tmp_path, [f"v{i}" for i in range(40)])
    (tmp_path / "videos" / "v7.mp4").unlink()
    act(composed(tmp_path, url, "dry_run=true", "calibrate=40", "captioner.assumed_prompt_tokens=500"))
    shown = capsys.readouterr().out
    assert state.routes == {"POST /v1beta/models/gemini-3.5-flash-lite:countTokens": 39} and not state.arrivals
    # 1250 counted; expected: 18 s of silent video at 75 tokens, and 500
    assert "1,250 input tokens per video over 39 videos, expected 1,850 (67.6%, 95% of the videos below 67.6%)" in shown
    assert "1 left out" in shown and "50,000 in, 12,000 out" in shown and "fewer tokens than the model's file" in shown
    assert "assumed_prompt_tokens=440 makes a run expect" in Calibration([1250], [1160], 0, 350).text()
    with pytest.raises(ConfigError, match="i_have_rights=true"):
        act(composed(tmp_path, url, "dry_run=true", "calibrate=1", "captioner.i_have_rights=false"))
    with pytest.raises(ConfigError, match="asks the Gemini API to count"):
        act(
            composed(
                tmp_path, url, "captioner=openai_compatible", "captioner.model.name=m", "dry_run=true", "calibrate=1"
            )
        )
    with pytest.raises(ConfigError, match="add dry_run=true"):
        CaptionConfig(calibrate=3)
    state.settings.key = "another"
    with pytest.raises(SgError, match=r"counts no tokens .*API key not valid"):
        act(composed(tmp_path, url, "dry_run=true", "calibrate=2"))


def test_status_and_doctor_report_the_state(folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    act(composed(folder, url, "action=status"))
    act(composed(folder, url, "action=doctor"))
    shown = capsys.readouterr().out
    assert "3 of 3 done" in shown and "error: blocked" in shown
    assert "gemini-3.5-flash-lite answers" in shown


def set_text(db: sqlite3.Connection, text: str, where: str) -> None:
    """Set the text of answers in a ledger, and remove their checksums."""
    db.execute(f"UPDATE result SET text=?, record=json_remove(record, '$.\"sg.crc32\"') WHERE {where}", (text,))


def test_the_audit_shows_frames_beside_captions_and_escapes_everything(
    folder: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "<script>alert(1)</script> A man hears music. <img src=x onerror=y>"
    with sqlite3.connect(folder / "captions" / "gemini" / "ledger.sqlite") as db:
        set_text(db, evil, "task_key=(SELECT task_key FROM task WHERE video_id='c')")
    act(composed(folder, url, "action=audit"))
    shown = capsys.readouterr().out
    page = (folder / "captions" / "gemini" / "audit" / "index.html").read_text(encoding="utf-8")
    numbers = json.loads((folder / "captions" / "gemini" / "audit" / "audit.json").read_text(encoding="utf-8"))
    assert "<script" not in page and "<img src=x" not in page and "&lt;script&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 4
    assert page.count('aria-label="enlarge frame') == 4 and 'alt="frame 4 of 4 of a"' in page
    assert numbers["gates"]["meta/reject"] == 1 and numbers["audio"] == {
        "sound in a silent video": 1,
        "silent videos": 2,
    }
    assert "blocked: PROHIBITED_CONTENT" in shown and "words per text" in shown
    assert "No text: blocked: PROHIBITED_CONTENT" in page and "2 of 3 videos have a caption." in page
    assert "Captions that the gates reject now: " in page and "meta: reject" in page


def test_the_lengths_have_no_gaps_and_reasons_that_are_not_listed_are_counted() -> None:
    found = Audit({}, lengths=Counter({0: 2, 50: 1}), reasons=Counter({f"gate {i:02}": 20 - i for i in range(15)}))
    assert found.length_rows() == [("0–24", 2), ("25–49", 0), ("50–74", 1)] and not Audit({}).length_rows()
    assert found.reason_rows()[11:] == [("gate 11", 9), ("other reasons", 8 + 7 + 6)]
    found.lengths = Counter({575: 1, 600: 2, 90_000: 3})
    assert found.length_rows() == [("575–599", 1), ("600+", 5)]


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 420])
def test_the_audit_can_be_read_on_every_screen(folder: Path, url: str, browser: Browser, width: int) -> None:
    with sqlite3.connect(folder / "captions" / "gemini" / "ledger.sqlite") as db:
        set_text(db, "A-word-that-has-no-end " + "long" * 99, "status='succeeded'")
    act(composed(folder, url, "action=audit"))
    check_look(browser, folder / "captions" / "gemini" / "audit" / "index.html", width)


def test_an_export_can_be_imported(folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, data = folder / "captions.json", composed(folder, url).data
    with pytest.raises(MissingInputError, match=r"sg\.caption import"):
        caption_videos(data, ImportedCaptionerConfig())
    act(composed(folder, url, "action=export", "format=sharegemini", f"out={out}"))
    act(composed(folder, url, "action=import", f"source={out}"))
    shown = capsys.readouterr().out
    assert "2 captions" in shown and caption_videos(data, ImportedCaptionerConfig()).is_file()


def test_an_export_replaces_nothing_but_itself(folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    mine = folder / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work", encoding="utf-8")
    for place, kind in ((mine, "webdataset"), (mine / "thesis.txt", "webdataset"), (mine / "thesis.txt", "chat_univi")):
        with pytest.raises(ConfigError, match="exists, and is not an export of this data"):
            act(composed(folder, url, "action=export", f"format={kind}", f"out={place}"))
    assert (mine / "thesis.txt").read_text(encoding="utf-8") == "years of work"
    for _ in range(2):
        act(composed(folder, url, "action=export", "format=webdataset", f"out={folder / 'new'}"))
    assert capsys.readouterr().out.count("2 captions") == 2


def test_an_export_says_which_ids_have_no_caption(folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    ids, out = folder / "ids.txt", folder / "some.json"
    for text, reason in (("", "is empty"), ("\ufeffz\n", "none of the 1 videos of ids has a caption"), (None, "UTF-8")):
        ids.write_bytes(b"\xff\xfe\xfc" if text is None else text.encode())
        with pytest.raises(SgError, match=reason):
            act(composed(folder, url, "action=export", f"out={out}", f"ids={ids}"))
    ids.write_text("\ufeffa\nb\nz\n", encoding="utf-8")
    act(composed(folder, url, "action=export", f"out={out}", f"ids={ids}"))
    assert "1 captions, 2 of ids have no caption" in capsys.readouterr().out


def test_a_prompt_that_the_settings_contradict_is_refused(folder: Path, url: str) -> None:
    prompt = FOLDER / "dense_en.md"
    (folder / "de.md").write_text(prompt.read_text(encoding="utf-8").replace("language: en", "language: de"))
    for word, reason in ((f"captioner.prompt={folder / 'de.md'}", "set captioner.language=de"),
                         ("captioner.prompt=judge_en", "a prompt of a judge")):  # fmt: skip
        with pytest.raises(ConfigError, match=reason):
            act(composed(folder, url, word))
    config = composed(folder, url, f"captioner.prompt={folder / 'de.md'}", "captioner.language=de")
    assert recipe_of(config.captioner).prompt.language == "de"


def test_the_estimate_of_a_shard_is_that_of_its_videos(folder: Path, url: str) -> None:
    def estimated(shard: str) -> int:
        config = composed(folder, url, f"captioner.shard={shard}")
        return estimate_run(config.data, config.captioner, config.data.manifest_path).videos

    shards = [estimated(f"{number}/7") for number in range(7)]
    assert sum(shards) == estimated("0/1") == 3 > max(shards)


def test_a_missing_setting_of_an_action_is_an_error(folder: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"export needs .*out=PATH"):
        act(composed(folder, url, "action=export"))
    with pytest.raises(ConfigError, match="import needs a published caption file"):
        act(composed(folder, url, "action=import"))
    with pytest.raises(ConfigError, match="forget needs a file"):
        act(composed(folder, url, "action=forget"))
    with pytest.raises(ConfigError, match="add captioner=gemini"):
        _audit_given(folder)
    with pytest.raises(ConfigError, match="should be one of caption, status"):
        CaptionConfig(action="sing")


def _audit_given(folder: Path) -> None:
    words = ["data=demo", f"data.dir={folder}", "captioner=given", "action=audit"]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        act(typed(compose("caption", words), CaptionConfig))
