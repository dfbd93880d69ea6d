"""Files say what they are for, stay short, and hide no module of the standard library."""

import ast
import sys

from tests.harness.source_tree import FOLDERS, PACKAGES, ROOT, modules, name_of, tree_of

LONGEST_FILE = 400  # lines
LONGEST_FUNCTION = 100  # lines; the composition root lists all there is, once


def test_every_file_opens_with_its_one_job() -> None:
    files = [ROOT / "bot.py", *modules(*FOLDERS)]
    bare = [name_of(path) for path in files if path.read_text("utf-8").strip() and not ast.get_docstring(tree_of(path))]
    assert not bare


def test_no_package_is_named_like_a_module_of_the_standard_library() -> None:
    # At the top it would hide that one; inside a package it does no harm.
    assert not {*FOLDERS, "bot"} & sys.stdlib_module_names


def test_files_stay_short_enough_to_be_read_at_one_go() -> None:
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in modules(*FOLDERS)}
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE}


def test_nine_in_ten_functions_stay_under_35_lines_and_none_gets_long() -> None:
    lengths = {
        f"{name_of(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in modules(*PACKAGES)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert sorted(lengths.values())[len(lengths) * 9 // 10] < 35
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION}


def test_a_package_is_a_package() -> None:
    # Without bot/__init__.py, `import bot` would find the file bot.py.
    assert [name for name in PACKAGES if not (ROOT / name / "__init__.py").is_file()] == []


def test_nothing_unsafe_is_read_as_a_pickle() -> None:
    unsafe = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules(*PACKAGES, "models")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and {"pickle", "shelve", "marshal", "dill"}
        & {*(alias.name for alias in node.names), getattr(node, "module", None)}
    ]
    assert not unsafe
