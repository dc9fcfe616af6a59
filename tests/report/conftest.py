"""One synthetic study, measured once, for all tests that only read it."""

from pathlib import Path

import pytest

from sg.report.numbers.measure import measure
from sg.report.numbers.study import Study, read_study
from sg.report.numbers.summary import Summary

from .study_builder import write_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder: Path = tmp_path_factory.mktemp("runs") / "demo_scaling"
    write_study(folder, videos=90)
    return read_study(folder)


@pytest.fixture(scope="session")
def summary(study: Study) -> Summary:
    return measure(study)
