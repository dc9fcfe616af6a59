from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sg.artefacts.captions import CaptionRecord, read_captions, write_captions
from sg.artefacts.forest import Forest, read_forest, subtree_sizes, write_forest
from sg.artefacts.manifest import VideoRecord, hash_manifest, write_manifest
from sg.artefacts.result import read_result, write_result
from sg.core.errors import MissingInputError
from sg.core.files import write_json
from sg.report.figures.corpus import draw_corpus, map_figure, similarities_figure
from sg.report.numbers.clusters import StudyInputs, recorded_inputs
from sg.report.numbers.corpus import CorpusNumbers, MapPoint, describe_corpus, read_corpus, write_corpus
from sg.report.numbers.study import read_study

from ..study_builder import World
from ..study_builder import write_corpus as write_files


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> StudyInputs:
    """Twenty-four videos of two sources; captions of "long" have more words, each with a word of its own."""
    folder = tmp_path_factory.mktemp("corpus")
    paths = {name: Path(path) for name, path in write_files(folder).items()}
    ids = read_forest(paths["forest"]).video_ids
    source = {name: "long" if place % 2 else "short" for place, name in enumerate(ids)}
    write_manifest(paths["manifest"], [VideoRecord(name, source[name], f"{name}.mp4") for name in ids])
    texts = {name: f"a red dog {'and own words ' + name if source[name] == 'long' else ''}" for name in ids}
    write_captions(paths["captions"], [CaptionRecord(name, text) for name, text in texts.items()])
    return StudyInputs(paths["manifest"], paths["forest"], paths["videos"], paths["captions"])


@pytest.fixture(scope="module")
def corpus(inputs: StudyInputs) -> CorpusNumbers:
    return describe_corpus(inputs, {8: "50k", 24: "530k"})


def test_captions_are_described_by_core_and_by_source(corpus: CorpusNumbers) -> None:
    assert [(group.kind, group.name) for group in corpus.captions] == [
        ("core", "50k"), ("core", "530k"), ("source", "long"), ("source", "short"),
    ]  # fmt: skip
    by_name = {group.name: group for group in corpus.captions}
    assert by_name["long"].words[2] == 7 and by_name["short"].words[2] == 3
    assert by_name["long"].vocabulary == 3 + 3 + 12 and by_name["short"].vocabulary == 3
    assert by_name["530k"].vocabulary == by_name["530k"].vocabulary_of_draw


def test_cluster_sizes_add_up_to_the_core_and_the_whole_corpus_is_left_out(
    corpus: CorpusNumbers, inputs: StudyInputs
) -> None:
    (core,) = corpus.cores
    assert core.name == "50k" and sum(count for _, count in core.histogram) == 8
    assert core.cut == read_forest(inputs.forest).cut_similarity(8)


def test_statistics_of_curation_are_read(corpus: CorpusNumbers, inputs: StudyInputs) -> None:
    file = inputs.forest.parent / "statistics.json"
    points = {"note": "two axes", "points": [[0.1, 0.2, 3], [0.3, 0.4, 20]]}
    cores = [{"size": 8, "clusters": {"histogram": [[1, 5], [2, 3]]}}]
    write_json(file, {"cores": cores, "removal_curve": [[23, 0.9], [22, 0.8]], "map": points})
    found, own = describe_corpus(inputs, {8: "50k"}), describe_corpus(inputs, {4: "25k", 21: "131k", 24: "150k"})
    file.unlink()
    assert found.cores[0].histogram == [[1, 5], [2, 3]]
    assert found.points == [MapPoint(0.1, 0.2, 8), MapPoint(0.3, 0.4, 0)] and found.map_note == "two axes"
    assert [point.core for point in own.points] == [4, 21], "scales that curation did not describe are on the map too"


def test_the_histogram_of_similarities_counts_all_merges(tmp_path: Path) -> None:
    count = 1501
    parent = np.append(np.full(count - 1, count - 1), -1)
    similarity = np.append(np.linspace(1.0, -0.2, count - 1), np.nan).astype(np.float32)
    ids = [f"clip{number:04d}" for number in range(count)]
    forest = Forest(ids, parent, similarity, np.zeros(count, np.int32), subtree_sizes(parent), similarity)
    write_forest(tmp_path / "forest.parquet", forest)
    found = describe_corpus(StudyInputs(tmp_path / "none", tmp_path / "forest.parquet", tmp_path), {8: "50k"})
    assert sum(number for _, number in found.merges) == 1500
    bars = dict(found.merges)
    assert max(bars) == 0.99 and min(bars) == pytest.approx(-0.2)
    assert all(number in (12, 13, 14) for low, number in found.merges if -0.19 < low < 0.98)
    figure = similarities_figure(found)
    assert figure.axes[0].get_ylabel() == "% of all 1,500 merges"
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == pytest.approx(100)


def test_a_corpus_is_read_back_as_it_was_written(corpus: CorpusNumbers, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.json", corpus)
    assert read_corpus(tmp_path) == corpus
    with pytest.raises(MissingInputError, match=r"corpus\.json"):
        read_corpus(tmp_path / "nowhere")


def test_every_figure_is_drawn_for_which_there_are_numbers(corpus: CorpusNumbers, tmp_path: Path) -> None:
    points = [
        MapPoint(float(x), float(y), size) for (x, y), size in zip(np.eye(2).tolist() * 2, (0, 8, 8, 0), strict=True)
    ]
    figures = draw_corpus(replace(corpus, points=points), tmp_path)
    assert list(figures) == ["captions", "clusters", "similarities", "map"]
    assert list(draw_corpus(CorpusNumbers(), tmp_path)) == []


def test_the_map_names_the_cores_of_the_study(corpus: CorpusNumbers) -> None:
    own = replace(corpus, points=[MapPoint(0, 0, 8), MapPoint(1, 1, 0)])
    texts = [text.get_text() for text in map_figure(own).legends[0].get_texts()]
    assert texts == ["only in the whole corpus", "core 50k"]


def test_captions_may_be_missing(inputs: StudyInputs) -> None:
    bare = describe_corpus(replace(inputs, captions=None), {8: "50k"})
    assert bare.captions == [] and bare.cores


def test_the_report_reads_no_inputs_that_have_changed_since_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = write_files(tmp_path / "data", videos=6)
    run = World(tmp_path / "study", videos=3).run(50_000)
    content = {
        "manifest": hash_manifest(Path(paths["manifest"])),
        "captions": read_captions(Path(paths["captions"])).content_hash,
        "forest": read_forest(Path(paths["forest"])).content_hash,
    }
    write_result(run, replace(read_result(run), inputs=paths, inputs_content=content))
    assert recorded_inputs(read_study(tmp_path / "study")) is not None
    write_captions(Path(paths["captions"]), [CaptionRecord("clip00", "Another caption.")])
    assert recorded_inputs(read_study(tmp_path / "study")) is None
    assert f"{paths['captions']} has changed since run" in caplog.text
