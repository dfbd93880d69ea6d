"""Prints what the named parts of Darkroom need, one requirement a line, from pyproject.toml. Installs nothing.

Usage: requirements.py [bot] [worker] [dev]
"""

import sys
import tomllib
from pathlib import Path


def requirements(parts: list[str]) -> list[str]:
    """The requirements of the parts, sorted; KeyError names a part that pyproject.toml does not have."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {"bot": project["dependencies"], **project["optional-dependencies"]}
    return sorted({line for part in parts for line in groups[part]})


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1:])))
