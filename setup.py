"""The part of the build that `pyproject.toml` cannot express: folders beside `sg/` travel inside the wheel.

`conf/` becomes `sg/conf`, and the published numbers in `experiments/` become `sg/experiments`. `sg/core/layout.py`
finds both. `sg/COMMIT` names the commit that the wheel was built from. An editable install copies nothing, because it
uses the clone.
"""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent))  # a build does not see the project's own package otherwise

from sg.core.identity import COMMIT_FILE, code_version

COPIED = ("conf/**/*.yaml", "experiments/*/published.csv")
LOCAL = Path("conf/paths/local.yaml")  # one machine's folders; not in git


class BuildWithConfigs(build_py):
    """Setuptools' `build_py`, then a copy of the files in `COPIED` into the package."""

    def run(self) -> None:
        """Build the packages and copy the files."""
        super().run()
        if self.editable_mode:
            return
        for file in (file for pattern in COPIED for file in sorted(Path().glob(pattern)) if file != LOCAL):
            target = Path(self.build_lib) / "sg" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        (Path(self.build_lib) / "sg" / COMMIT_FILE).write_text(code_version()["commit"], encoding="utf-8")


setup(cmdclass={"build_py": BuildWithConfigs})
