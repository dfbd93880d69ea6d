"""The project's own files and what they import, for the tests about the code itself. Imports nothing of ours."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "storage", "bot", "cogs", "worker", "sandbox")
#: Everything that is Python and ours.
FOLDERS = (*PACKAGES, "benchmarks", "models", "scripts", "tests")


def modules(*folders: str) -> list[Path]:
    """The Python files under these folders of the project."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """`bot/main.py` for a file of the project."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path) -> set[str]:
    """The first names of all that the file imports, at its top or inside a function, but for type checkers only."""
    found: set[str] = set()
    todo: list[ast.AST] = [tree_of(path)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        todo += ast.iter_child_nodes(node)
    return found
