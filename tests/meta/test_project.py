"""What the project's files say of each other is so: settings, pins, make targets, links."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bot.config import VARIABLES
from bot.config.unknown_settings import ELSEWHERE
from scripts import tables
from tests.harness.source_tree import FOLDERS, PACKAGES, ROOT, modules, name_of, tree_of

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").rglob("*.md")])
#: Files that a page tells its reader to write.
EXAMPLES = {"worker/families/pixart.py"}
LINK = re.compile(r"\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"")


def assigned(text: str) -> dict[str, str]:
    """The settings of a .env file."""
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


def test_the_example_of_env_has_every_setting_with_its_default() -> None:
    example = assigned((ROOT / ".env.example").read_text("utf-8"))
    assert example == {variable.name: variable.default for variable in VARIABLES}


def test_every_setting_is_explained_in_the_docs() -> None:
    text = (ROOT / "docs/running.md").read_text("utf-8")
    names = {variable.name for variable in VARIABLES}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("name", ["commands.md", "running.md"])
def test_the_tables_in_the_docs_are_those_of_the_code(name: str) -> None:
    text = (ROOT / "docs" / name).read_text("utf-8")
    assert "<!-- end of " in text
    assert tables.filled(text) == text, "run: python -m scripts.tables"


def test_no_setting_is_named_that_is_not_declared() -> None:
    known = {variable.name for variable in VARIABLES} | ELSEWHERE
    named = {
        f"{name_of(path)}: {name}"
        for path in modules(*PACKAGES, "scripts")
        for text in strings(path)
        for name in re.findall(r"DARKROOM_\w+|DISCORD_[A-Z_]+", text)
        if name not in known
    }
    assert named == set()


def strings(path: Path) -> list[str]:
    """Every text in a file's code, also the parts of an f-string."""
    nodes = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Constant)]
    return [node.value for node in nodes if isinstance(node.value, str)]


def test_the_files_that_documents_name_are_there() -> None:
    files = {name_of(path) for path in modules(*FOLDERS)} | {"bot.py"}
    ends = {"/".join(name.split("/")[-depth:]) for name in files for depth in range(1, name.count("/") + 2)}
    named = {
        f"{path.name}: {name}"
        for path in DOCUMENTS
        if path.name != "CHANGELOG.md"
        for name in re.findall(r"`([\w/]+\.py)`", path.read_text("utf-8"))
        if name not in ends | EXAMPLES
    }
    assert named == set()


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def constraints(name: str) -> list[str]:
    """The lines of a constraint file that are not remarks."""
    lines = (ROOT / f"constraints/{name}.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_every_requirement_is_pinned_within_its_bounds(kind: str) -> None:
    pins = [Requirement(line) for name in ("common", kind) for line in constraints(name) if line[0] != "-"]
    assert all(re.fullmatch(r"==[^*]+", str(pin.specifier)) for pin in pins)
    versions = {normal(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    wanted = [*project()["dependencies"], *(r for part in project()["optional-dependencies"].values() for r in part)]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(versions[normal(requirement.name)]), requirement


def test_only_torch_differs_between_machines() -> None:
    for kind in ("cpu", "cuda"):
        first, *pins = constraints(kind)
        assert first == "-c common.txt"
        assert [pin.split("==")[0] for pin in pins] == ["torch"]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_every_make_command_in_the_documents_exists() -> None:
    told = {
        word
        for document in DOCUMENTS
        for command in re.findall(r"(?:^|`)\s*make ((?:[a-z-]+ ?)+)", document.read_text("utf-8"), re.MULTILINE)
        for word in command.split()
    }
    assert {"run", "test", "check", "bench"} <= told <= targets()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_inside_the_project_leads_somewhere(document: Path) -> None:
    text = document.read_text("utf-8")
    links = {a or b for a, b in LINK.findall(text)}
    local = {link.split("#")[0] for link in links if not link.startswith(("http:", "https:", "mailto:"))}
    assert [link for link in sorted(local) if link and not (document.parent / link).exists()] == []


def test_what_git_keeps_has_no_secrets_and_no_caches() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    kept = listed.stdout.splitlines()
    assert [
        name for name in kept if name == ".env" or re.search(r"__pycache__|\.pyc$|\.sqlite|(^|/)\.venv/", name)
    ] == []
