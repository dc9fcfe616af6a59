"""The pages on installation and the files beside them say what the code does."""

import json
import re
import subprocess

import yaml

import sg
from sg.core.errors import ExitCode
from tests.study.commands import ROOT


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_page_has_the_table_of_exit_codes_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+) \|", read("docs/installation.md"), flags=re.MULTILINE)
    assert rows == [(str(code.value), code.name) for code in ExitCode]


def test_the_page_names_every_extra() -> None:
    extras = re.search(r"\[project\.optional-dependencies\]\n(.*?)\n\n", read("pyproject.toml"), flags=re.DOTALL)
    assert extras is not None
    names = re.findall(r"^([\w-]+) = ", extras[1], flags=re.MULTILINE)
    shown = re.findall(r"^\| `([\w-]+)` \|.*\| (?:yes|no) \|$", read("docs/installation.md"), flags=re.MULTILINE)
    assert sorted(shown) == sorted(names)


def test_the_image_copies_existing_files_and_runs_the_command_of_make_demo() -> None:
    text = read("Dockerfile").replace("\\\n", " ")
    copied = [word for line in re.findall(r"^COPY (.*) \S+$", text, flags=re.MULTILINE) for word in line.split()]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    words = [json.loads(list_) for list_ in re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", text, flags=re.MULTILINE)]
    demo = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert " ".join(words[0] + words[1]).removeprefix("sg train") in demo


def test_the_citation_has_the_version_of_the_package() -> None:
    assert yaml.safe_load(read("CITATION.cff"))["version"] == sg.__version__


def test_extras_are_named_by_what_can_be_typed() -> None:
    tracked = subprocess.run(["git", "grep", "-lE", r"sharegemini\[[a-z]"], cwd=ROOT, capture_output=True, text=True)
    assert set(tracked.stdout.split()) <= {"tests/repository/test_installation.py"}
