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


@cache
def modules_by_name(*folders: str) -> dict[str, Path]:
    """Every module of these folders, or of the packages: `bot.messages` is the file `bot/messages/__init__.py`."""
    found = {}
    for path in modules(*folders or PACKAGES):
        name = name_of(path).removesuffix(".py").replace("/", ".")
        found[name.removesuffix(".__init__")] = path
    return found


def modules_imported(path: Path, *folders: str) -> set[str]:
    """The modules of these folders, or of the packages, that a file imports, anywhere in it, for type checkers too."""
    known, found = modules_by_name(*folders), set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)}:{node.lineno} imports by a relative name"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= whole & known.keys() or {str(node.module)}
            found |= {str(node.module)} if whole - known.keys() else set()
    return found & known.keys()


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach one another (Tarjan's strongly connected components of more than one node)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in index:
            visit(node)
    return found
