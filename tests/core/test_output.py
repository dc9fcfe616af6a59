"""`format=json`: one JSON object alone on stdout, everything else on stderr."""

import json
import logging
import math

import pytest

from sg.core.errors import ConfigError
from sg.core.output import check_format, json_alone, show


def text() -> str:
    return "for people"


def test_text_is_printed_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    show("plan", 1, {"steps": 3}, text, "text")
    assert capsys.readouterr().out == "for people\n"


def test_json_stands_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with json_alone(["data=demo", "format=json"]):
        print("a print")
        logging.StreamHandler().emit(logging.makeLogRecord({"msg": "a log line"}))
        show("plan", 2, {"steps": (3, 4), "loss": math.nan}, text, "json")
    out, err = capsys.readouterr()
    assert json.loads(out) == {"kind": "plan", "schema": 2, "steps": [3, 4], "loss": None}
    assert "a print" in err and "a log line" in err


def test_without_json_stdout_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with json_alone(["data=demo"]):
        print("a print")
    assert capsys.readouterr().out == "a print\n"


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="format='yaml' should be one of text, json"):
        check_format("yaml")
