"""`sg push` and `sg pull` against a hub on loopback."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.fingerprints import file_hash
from sg.hub import push as pushing
from sg.hub.config import PullConfig, PushConfig
from sg.hub.package import CARD_FILE, RECORD_FILE, package_of
from sg.hub.pull import pull
from sg.hub.push import push
from tests.hub.server import Hub, running


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with running() as server:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setenv("HF_TOKEN", "hf_loopback_token_of_a_test")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
        yield server


def vectors(folder: Path, source: str = "demo", parts: int = 3) -> Path:
    """A data folder with a manifest, and in it a folder of vectors as far as the hub is concerned."""
    write_manifest(folder / "manifest.parquet", [VideoRecord("a", source, "a.mp4", duration_s=1.0)])
    place = folder / "embeddings" / "demo"
    place.mkdir(parents=True)
    (place / "embeddings.json").write_text("{}")
    (place / "embed.lock").touch()
    for number in range(parts):
        (place / f"part-{number:05d}.parquet").write_bytes(bytes([number]) * 3000)
    return place


def fingerprints(folder: Path) -> dict[str, str]:
    files = json.loads((folder / RECORD_FILE).read_text())["files"]
    return {name: file_hash(folder / name) for name in files}


def test_push_is_interrupted_and_pushed_again_and_pulled_elsewhere(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pushing, "_FILES", 2)
    place, config = vectors(tmp_path / "data"), {"repo": "lab/vectors"}
    hub.fails_after = 1
    with pytest.raises(DataError, match="run the same command again, which resumes"):
        push(PushConfig(str(place), **config))
    with pytest.raises(DataError, match="has not written its repository, or not all of it"):
        pull(PullConfig(**config, out=str(tmp_path / "half")))
    first, hub.fails_after = hub.commits[0], None
    push(PushConfig(str(place), **config))
    again = [name for names in hub.commits[1:] for name in names]
    assert not set(first) & set(again) and again[-1] == RECORD_FILE
    count = len(hub.commits)
    push(PushConfig(str(place), **config))
    assert len(hub.commits) == count  # nothing is missing
    out = tmp_path / "empty_machine"
    pull(PullConfig(**config, out=str(out)))
    assert capsys.readouterr().out.splitlines()[-1] == f"vectors: {out}"
    assert fingerprints(out) == {name: file_hash(place / name) for name in fingerprints(out)}
    assert sorted(fingerprints(out)) == ["embeddings.json", *(f"part-{n:05d}.parquet" for n in range(3))]
    assert "demo: rendered by this project" in (out / CARD_FILE).read_text()
    assert "hf_loopback" not in "".join(path.read_text(errors="replace") for path in out.rglob("*") if path.is_file())


def test_an_earlier_download_is_not_taken_for_one_that_the_hub_did_not_answer(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"repo": "lab/vectors"}
    push(PushConfig(str(vectors(tmp_path / "data")), **config))
    pull(PullConfig(**config, out=str(tmp_path / "out")))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="The transfer of lab/vectors failed"):
        pull(PullConfig(**config, out=str(tmp_path / "out"), revision="another"))


def test_a_kind_of_repository_that_the_hub_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"repo_type='space' .* one of dataset, model"):
        PullConfig(repo="lab/vectors", out="out", repo_type="space")


def test_a_tampered_file_is_named(hub: Hub, tmp_path: Path) -> None:
    push(PushConfig(str(vectors(tmp_path / "data")), "lab/vectors"))
    hub.repos["datasets/lab/vectors"]["part-00001.parquet"] = b"x" * 3000
    with pytest.raises(DataError, match=r"part-00001\.parquet differs from what was pushed"):
        pull(PullConfig("lab/vectors", str(tmp_path / "out")))


def test_a_stage_becomes_a_model_repository(hub: Hub, tmp_path: Path) -> None:
    stage = tmp_path / "stages" / "caption-1"
    stage.mkdir(parents=True)
    for name in ("stage.json", "config.json"):
        (stage / name).write_text("{}")
    (stage / "model.safetensors").write_bytes(b"w" * 5000)
    push(PushConfig(str(stage), "lab/model"))
    assert set(hub.repos["models/lab/model"]) == {
        "stage.json",
        "config.json",
        "model.safetensors",
        CARD_FILE,
        RECORD_FILE,
    }
    pull(PullConfig("lab/model", str(tmp_path / "out")))
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == b"w" * 5000


def test_what_terms_forbid_is_refused_also_in_a_dry_run(tmp_path: Path) -> None:
    place = str(vectors(tmp_path / "webvid", "webvid"))
    with pytest.raises(ConfigError, match="videos of webvid, whose terms forbid to publish it"):
        push(PushConfig(place, "lab/x", dry_run=True, i_have_rights=True))
    own = str(vectors(tmp_path / "own", "folder"))
    with pytest.raises(ConfigError, match="then set i_have_rights=true"):
        push(PushConfig(own, "lab/x", dry_run=True))
    push(PushConfig(own, "lab/x", dry_run=True, i_have_rights=True))


def test_a_dry_run_lists_what_would_go_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = vectors(tmp_path / "data")
    words = [f"path={place}", "repo=lab/x", "dry_run=true", "format=json", f"paths.work={tmp_path / 'work'}"]
    monkeypatch.setattr(sys, "argv", ["push", *words])
    pushing.main()
    plan: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (plan["kind"], plan["artefact"], plan["type"], plan["bytes"]) == ("push_plan", "vectors", "dataset", 9002)
    assert plan["files"]["part-00002.parquet"] == 3000 and "embed.lock" not in plan["files"]


def test_what_is_no_artefact_is_refused(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(MissingInputError, match="There is no artefact"):
        package_of(tmp_path / "none", None)
    (tmp_path / "text").mkdir()
    with pytest.raises(ConfigError, match="holds nothing that can be pushed"):
        package_of(tmp_path / "text", None)
    (tmp_path / "captions.parquet").touch()
    with pytest.raises(MissingInputError, match="give it with manifest=FILE"):
        package_of(tmp_path / "captions.parquet", None)
    with pytest.raises(ConfigError, match="should be OWNER/NAME"):
        PushConfig("x", "name")
    with pytest.raises(MissingInputError, match="There is no repository lab/none"):
        pull(PullConfig("lab/none", str(tmp_path / "out")))
