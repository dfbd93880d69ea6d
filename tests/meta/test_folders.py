"""The table of folders: what each offers to others and whom it may import. No circle of files and none of folders.

A row is a folder or a file that lies loose in its package; imports for types and inside functions count. Files of
`core`, `storage`, `cogs` and loose ones offer all that has no underscore; a folder offers what its `__init__` names.
"""

import ast
from pathlib import Path

import pytest

from tests.harness.source_tree import (
    FOLDERS,
    PACKAGES,
    ROOT,
    circles,
    modules,
    modules_by_name,
    modules_imported,
    name_of,
    tree_of,
)
from tests.meta.folder_table import TABLE

#: Packages that are one room each; the others are rooms by folder.
FLAT = ("core", "storage", "cogs")
HARNESS = ROOT / "tests" / "harness"


def row_of(module: str) -> str:
    """The row that a module belongs to."""
    parts = module.split(".")
    return parts[0] if parts[0] in FLAT else ".".join(parts[:2])


def is_folder(row: str) -> bool:
    return modules_by_name()[row].name == "__init__.py" and row not in (*FLAT, *PACKAGES)


def imports_by_row() -> dict[str, set[str]]:
    """Whom the files of a row import, the row itself left out."""
    found: dict[str, set[str]] = {}
    for module, path in modules_by_name().items():
        row = found.setdefault(row_of(module), set())
        row |= {row_of(other) for other in modules_imported(path)} - {row_of(module)}
    return found


def named_in(init: Path) -> list[str]:
    """What an `__init__` names in `__all__`."""
    for node in tree_of(init).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def test_every_folder_and_loose_file_has_its_row() -> None:
    assert set(imports_by_row()) - set(PACKAGES) | set(FLAT) == set(TABLE)


def test_who_imports_whom_is_what_the_table_says() -> None:
    there = {row: found for row, found in imports_by_row().items() if row in TABLE}
    wrong = {
        row: {"not allowed": found - TABLE[row].imports, "not used": TABLE[row].imports - found}
        for row, found in there.items()
        if found != TABLE[row].imports
    }
    assert not wrong


def test_a_folder_offers_what_the_table_says_and_no_more() -> None:
    folders = [row for row in TABLE if is_folder(row)]
    assert {row: sorted(named_in(modules_by_name()[row])) for row in folders} == {
        row: sorted(TABLE[row].offers) for row in folders
    }


def test_nobody_reaches_past_a_folders_init() -> None:
    past = {
        name_of(path): inside
        for module, path in modules_by_name().items()
        if (
            inside := {
                other
                for other in modules_imported(path)
                if is_folder(row_of(other))
                and row_of(other) not in (row_of(module), other)
                and other.removeprefix(f"{row_of(other)}.") not in TABLE[row_of(other)].offers
            }
        )
    }
    assert not past


def test_outside_the_packages_what_a_folder_offers_is_imported_from_it_too() -> None:
    """Tests look inside as well; but what has a way in is taken by it, so that files may move behind it."""
    past = []
    for path in modules(*(set(FOLDERS) - set(PACKAGES))):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and node.module in modules_by_name():
                row = row_of(node.module)
                if row != node.module and row in TABLE and is_folder(row):
                    past += [f"{name_of(path)}: {one.name}" for one in node.names if one.name in TABLE[row].offers]
    assert not past


def test_no_file_imports_the_init_of_its_own_folder() -> None:
    own = [
        name_of(path)
        for module, path in modules_by_name().items()
        if is_folder(row_of(module)) and module != row_of(module) and row_of(module) in modules_imported(path)
    ]
    assert not own


def test_there_is_no_circle_of_files() -> None:
    assert circles({module: modules_imported(path) for module, path in modules_by_name().items()}) == []


def test_there_is_no_circle_of_folders() -> None:
    assert circles(imports_by_row()) == []


def test_tests_form_no_circle_of_files_nor_of_folders() -> None:
    files = {module: modules_imported(path, "tests") for module, path in modules_by_name("tests").items()}
    assert circles(files) == []
    folder_of = {module: name_of(path.parent) for module, path in modules_by_name("tests").items()}
    folders: dict[str, set[str]] = {folder: set() for folder in folder_of.values()}
    for module, others in files.items():
        folders[folder_of[module]] |= {folder_of[other] for other in others} - {folder_of[module]}
    assert circles(folders) == []


def test_what_tests_share_stands_beside_them_or_above_them_or_in_the_harness() -> None:
    astray = {
        name_of(path): found
        for path in modules_by_name("tests").values()
        if (
            found := {
                name_of(shared)
                for other in modules_imported(path, "tests")
                if (shared := modules_by_name("tests")[other]).name.startswith(("test_", "conftest"))
                or shared.parent not in (*path.parents, HARNESS)
            }
        )
    }
    assert not astray


@pytest.mark.parametrize(
    ("graph", "groups"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"]]),
        ({"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"c", "a"}}, [["a", "b"], ["c", "d"]]),
    ],
)
def test_a_circle_is_found_where_there_is_one(graph: dict[str, set[str]], groups: list[list[str]]) -> None:
    assert sorted(circles(graph)) == groups
