"""Each package imports only what its room may know; so a bot starts without torch, and a worker without Discord."""

import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.harness.source_tree import PACKAGES, ROOT, imports, modules, name_of

#: What of ours a package may import beside itself, and what it must never import.
TABLE: dict[str, tuple[set[str], set[str]]] = {
    "core": (set(), {"discord", "torch", "aiosqlite"}),
    "storage": ({"core"}, {"discord", "torch"}),
    "worker": ({"core"}, {"discord", "aiosqlite", "sqlite3"}),
    "bot": ({"core", "storage"}, {"torch", "diffusers", "transformers"}),
    "cogs": ({"core", "bot"}, {"torch", "aiosqlite", "sqlite3"}),
    "sandbox": (set(), {"discord"}),
}
#: The parts of pyproject.toml that are installed where a package runs.
INSTALLED = {"bot": ("core", "storage", "bot", "cogs", "sandbox"), "worker": ("worker",)}
#: Parts that may be missing there; whoever imports them says in a sentence that they are.
OPTIONAL = {"worker": ("upscalers",)}
#: Where a distribution's name is not what one imports.
IMPORT_NAMES = {"discord.py": "discord", "pillow": "PIL", "python-dotenv": "dotenv"}


def test_the_table_has_every_package() -> None:
    assert set(TABLE) == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_of_ours_only_what_it_may(package: str) -> None:
    may, never = TABLE[package]
    ours = {*PACKAGES, "models", "benchmarks", "tests", "scripts"}
    wrong = {
        name_of(path): bad
        for path in modules(package)
        if (bad := (imports(path) & (ours - may - {package})) | (imports(path) & never))
    }
    assert not wrong


def test_core_needs_nothing_but_the_standard_library() -> None:
    foreign = {name_of(path): imports(path) - sys.stdlib_module_names - {"core"} for path in modules("core")}
    assert not {path: names for path, names in foreign.items() if names}


def test_core_reads_no_clock_and_does_no_input_or_output() -> None:
    doors = {"asyncio", "datetime", "os", "pathlib", "random", "secrets", "socket", "sqlite3", "subprocess", "time"}
    # A calendar month is arithmetic; the moment it is asked about comes in by argument.
    allowed = {"datetime"}
    wrong = {name_of(path): bad for path in modules("core") if (bad := imports(path) & (doors - allowed))}
    assert not wrong


@pytest.mark.parametrize("part", INSTALLED)
def test_what_a_package_imports_is_installed_where_it_runs(part: str) -> None:
    installed = set().union(*(declared(one) for one in (part, *OPTIONAL.get(part, ()))))
    known = installed | set(sys.stdlib_module_names) | set(PACKAGES)
    wrong = {name_of(path): bad for path in modules(*INSTALLED[part]) if (bad := imports(path) - known)}
    assert not wrong, f"pyproject.toml does not name these for {part}"


def declared(part: str) -> set[str]:
    """What can be imported once this part of pyproject.toml is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = project["dependencies"] if part == "bot" else project["optional-dependencies"][part]
    names = {Requirement(line).name for line in lines}
    return {IMPORT_NAMES.get(name, name) for name in names}


@pytest.mark.parametrize(
    ("start", "absent"),
    [
        ("bot.main", {"torch", "diffusers", "transformers", "numpy", "huggingface_hub"}),
        ("sandbox.cli", {"torch", "diffusers", "discord", "bot", "core"}),
        ("worker.__main__", {"discord", "aiosqlite", "sqlite3", "bot", "storage"}),
    ],
)
def test_a_process_loads_only_what_its_room_knows(start: str, absent: set[str]) -> None:
    script = f"import sys, {start}; print(*sorted({absent!r} & sys.modules.keys()))"
    assert printed_by(script).split() == []


def test_the_bots_cogs_load_no_torch() -> None:
    cogs = [name_of(path).removesuffix(".py").replace("/", ".") for path in modules("cogs")]
    script = f"import sys, importlib; [importlib.import_module(m) for m in {cogs!r}]; print('torch' in sys.modules)"
    assert printed_by(script).strip() == "False"


def printed_by(script: str) -> str:
    """What a fresh Python in the project's folder prints."""
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
