"""Private parts of a library stand in one file; pyproject.toml allows what was tried of each library and no more."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.harness.source_tree import FOLDERS, PACKAGES, ROOT, modules, name_of, tree_of

#: Tests may look into libraries: what breaks there harms nobody.
CHECKED = (*PACKAGES, "benchmarks", "models", "scripts")
#: Of Python itself, which has no other way to do it.
PYTHONS = {"_exit", "_transport"}
SUFFIX = "_internals"
TRIED = re.compile(r"Tried with (\w+) (\d+\.\d+)")
OURS = {*FOLDERS, "tests"}


def is_private(name: str) -> bool:
    """`_name`, but neither `__name__` nor the name of what nobody reads."""
    return name.startswith("_") and not name.startswith("__") and name != "_"


def is_foreign(module: str) -> bool:
    """A library's."""
    return module.split(".", maxsplit=1)[0] not in OURS | set(sys.stdlib_module_names)


@cache
def own_names() -> frozenset[str]:
    """All private names that the project gives."""
    return frozenset(name for path in modules(*CHECKED) for name in given(tree_of(path)) if is_private(name))


def given(tree: ast.Module) -> Iterator[str]:
    """The names that a file defines, assigns to itself, or imports as."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            yield node.attr


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def private_parts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, text) of each private part of a library that a file imports, reads, sets, or asks for by name."""
    libraries: set[str] = set()
    ours = own_names() | set(given(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found, names = imported(node)
            libraries |= names
            yield from found
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in PYTHONS:
            if node.attr not in ours or (isinstance(node.value, ast.Name) and node.value.id in libraries):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "hasattr", "setattr", "delattr"}:
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else ""
            if is_private(str(name)) and name not in ours:
                yield node.lineno, ast.unparse(node)


def imported(node: ast.Import | ast.ImportFrom) -> tuple[list[tuple[int, str]], set[str]]:
    """The private parts of libraries among what is imported, and the names that libraries have from then on."""
    found, names = [], set()
    base = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    for alias in node.names:
        whole = f"{base}{alias.name}"
        if not is_foreign(whole) or (isinstance(node, ast.ImportFrom) and node.level):
            continue
        names.add(alias.asname or alias.name.split(".")[0])
        if any(map(is_private, whole.split("."))):
            found.append((node.lineno, f"import {whole}"))
    return found, names


def internals() -> list[Path]:
    """The files that may."""
    return [path for path in modules(*CHECKED) if path.stem.endswith(SUFFIX)]


def test_private_parts_of_libraries_stand_in_the_files_for_them() -> None:
    wrong = [
        f"{name_of(path)}:{line} {text}"
        for path in modules(*CHECKED)
        if path not in internals()
        for line, text in private_parts(tree_of(path))
    ]
    assert not wrong, "these belong into <library>_internals.py"


def test_each_of_these_files_is_for_one_library_and_a_folder_has_one_for_each() -> None:
    places = [(path.relative_to(ROOT).parts[0], path.stem) for path in internals()]
    assert len(set(places)) == len(places) >= 3
    for path in internals():
        assert list(private_parts(tree_of(path))), f"{name_of(path)} uses nothing private"


@pytest.mark.parametrize(
    "code",
    [
        "import torch._inductor",
        "from torch._inductor import standalone_compile",
        "from diffusers.hooks import _is_enabled",
        "import torch\ntorch._dynamo.reset()",
        "import torch as t\nt._thing",
        "def f(module): module._parameters_of_theirs = 1",
        "def f(module): return getattr(module, '_repeated_blocks_of_theirs', None)",
        "from discord import Client\nclass Mine(Client):\n    def f(self): return self._connection_of_theirs",
    ],
)
def test_what_is_private_is_found(code: str) -> None:
    assert list(private_parts(ast.parse(code)))


def test_what_is_ours_or_pythons_own_is_not() -> None:
    ours = "from __future__ import annotations\nfrom worker import memory\ndef _later(): ...\nmemory._later"
    assert not list(private_parts(ast.parse(ours)))
    assert not list(private_parts(ast.parse("import os\nos._exit(0)")))


# --- bounds -----------------------------------------------------------------------------------------------------------


def pins() -> dict[str, Version]:
    """The versions that all was tried with, by library."""
    lines = "\n".join((ROOT / "constraints" / name).read_text("utf-8") for name in ("common.txt", "cpu.txt"))
    found = re.findall(r"^([\w.-]+)==([^\s;]+)", lines, re.MULTILINE)
    return {normal(name): Version(version) for name, version in found}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements() -> list[Requirement]:
    """Everything that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    parts = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for part in parts for line in part]


def bound(requirement: Requirement, sign: str) -> Version:
    return next(Version(one.version) for one in requirement.specifier if one.operator == sign)


@pytest.mark.parametrize("requirement", requirements(), ids=lambda one: one.name)
def test_bounds_allow_what_was_tried_and_no_more(requirement: Requirement) -> None:
    tried = pins()[normal(requirement.name)]
    if str(requirement.specifier).startswith("=="):
        return
    least, below = bound(requirement, ">="), bound(requirement, "<")
    assert (least.major, least.minor) == (tried.major, tried.minor), "an older one was not tried"
    private = {path.stem.removesuffix(SUFFIX) for path in internals()}
    narrow = tried.major == 0 or normal(requirement.name) in private
    assert below == Version(f"{tried.major}.{tried.minor + 1}" if narrow else f"{tried.major + 1}")


@pytest.mark.parametrize("path", internals(), ids=name_of)
def test_each_file_of_private_parts_says_with_which_version_they_were_tried(path: Path) -> None:
    found = TRIED.search((ast.get_docstring(tree_of(path)) or "").replace("\n", " "))
    assert found is not None, "its docstring says: Tried with <library> <major>.<minor>"
    library, version = found.groups()
    tried = pins()[normal(library)]
    assert (path.stem, version) == (f"{library}{SUFFIX}", f"{tried.major}.{tried.minor}")
