"""Where models of the hub lie: one rule for names, notes and the hub's cache, for bot and worker alike."""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from core.hub_files import RemoteFile, Repository
from core.model_locations import (
    Note,
    cache_folder,
    cached_name,
    home_for,
    home_name,
    inventory,
    lock_name,
    note_name,
    part_name,
    possible_names,
    read,
    written,
)

HERE = Repository(
    id="Owner/Mix", revision="abc", licence="mit",
    files={"a.safetensors": RemoteFile(size=5, sha256="s"), "b.json": RemoteFile(size=2, git_id="g")},
)  # fmt: skip


def test_what_is_noted_is_read_again() -> None:
    note = read(written(HERE, HERE.files), "mix")
    assert note == Note(repository="Owner/Mix", revision="abc", licence="mit", files=HERE.files)
    assert note.is_of("owner/mix", "") and not note.is_of("owner/mix", "a.safetensors")
    one = read(written(HERE, ["a.safetensors"]), "mix.safetensors")
    assert (one.file, str(one)) == ("a.safetensors", "Owner/Mix/a.safetensors")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 7}', '{"files": {"a": 1}, "repository": "x"}', "null"])
def test_what_is_no_note_counts_as_none(text: str) -> None:
    assert read(text, "mix") is None


def listed(*names: str, notes: dict[str, str] | None = None) -> dict:
    """A models folder; `notes`: by home, the repository that it was fetched from."""
    texts = {
        note_name(home): json.dumps({"repository": repository, "files": {"x.safetensors": [1, "", ""]}})
        for home, repository in (notes or {}).items()
    }
    return inventory([*names, *texts, ".locks"], texts.get)


def test_a_folder_is_read_with_what_is_only_on_its_way() -> None:
    found = listed(
        "mix", "one.safetensors", part_name("begun"), part_name("mix"), notes={"begun": "a/b", "gone": "c/d"}
    )
    assert {home: one.whole for home, one in found.items()} == {"mix": True, "one.safetensors": True, "begun": False}
    assert found["begun"].is_of("A/B", "") and found["mix"].note is None
    assert found["mix"].may_be("any/thing", "") and not found["begun"].may_be("any/thing", "")


@pytest.mark.parametrize(
    ("there", "notes", "home"),
    [
        ([], {}, "mix"),
        (["mix"], {"mix": "owner/mix"}, "mix"),
        (["mix"], {}, "mix"),
        (["best"], {"best": "Owner/Mix"}, "best"),
        (["mix", "best"], {"mix": "other/mix", "best": "owner/mix"}, "best"),
        (["best", part_name("mix")], {"mix": "owner/mix", "best": "owner/mix"}, "best"),
        ([part_name("mix")], {"mix": "owner/mix"}, "mix"),
        ([part_name("best")], {"best": "owner/mix"}, "best"),
        (["mix"], {"mix": "other/mix"}, "mix"),
        ([], {"best": "owner/mix"}, "mix"),
    ],
    ids=["nothing", "there", "by hand", "another name", "a stranger's place", "whole first", "begun",
         "begun elsewhere", "a stranger", "gone"],
)  # fmt: skip
def test_a_model_lies_where_it_was_fetched_to_and_else_belongs_to_its_name(there, notes, home) -> None:
    assert home_for("owner/mix", "", "mix", listed(*there, notes=notes)) == home


def test_one_file_is_one_file_here() -> None:
    assert home_for("owner/mix", "x.safetensors", "mix", {}) == home_name("mix", "x.safetensors") == "mix.safetensors"
    found = listed("best.safetensors", notes={"best.safetensors": "owner/mix"})
    assert home_for("owner/mix", "x.safetensors", "mix", found) == "best.safetensors"
    assert home_for("owner/mix", "y.safetensors", "mix", found) == "mix.safetensors"


def test_names_go_on_for_ever_and_a_lock_has_one_whatever_the_case() -> None:
    assert list(islice(possible_names("Owner/Mix", ""), 4)) == ["mix", "owner-mix", "owner-mix-2", "owner-mix-3"]
    assert next(possible_names("Owner/Mix", "Deep/One.safetensors")) == "one"
    assert lock_name("Owner/Mix", "") == lock_name("owner/mix", "") == "owner--mix"
    assert lock_name("owner/mix", "deep/one.safetensors") == "owner--mix--deep--one.safetensors"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"XDG_CACHE_HOME": "/xdg"},
        {"HF_HOME": "/hf", "XDG_CACHE_HOME": "/xdg"},
        {"HF_HOME": "~/hf"},
        {"HUGGINGFACE_HUB_CACHE": "/old", "HF_HOME": "/hf"},
        {"HF_HUB_CACHE": "$PLACE/new", "HUGGINGFACE_HUB_CACHE": "/old", "PLACE": "/there"},
    ],
    ids=lambda settings: "+".join(settings) or "none",
)
def test_the_hubs_cache_is_where_its_library_says(settings: dict[str, str]) -> None:
    """A bot that starts does not load that library, so it has to know."""
    names = ("XDG_CACHE_HOME", "HF_HOME", "HUGGINGFACE_HUB_CACHE", "HF_HUB_CACHE")
    environ = {**{name: value for name, value in os.environ.items() if name not in names}, **settings}
    script = (
        "import os; from pathlib import Path; from huggingface_hub import constants;"
        "from core.model_locations import cache_folder;"
        "print(constants.HF_HUB_CACHE); print(Path(os.path.expandvars(cache_folder(os.environ))).expanduser())"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    theirs, ours = done.stdout.split()
    assert ours == theirs


def test_a_copy_in_the_cache_is_the_one_that_the_library_finds(tmp_path: Path) -> None:
    from huggingface_hub import try_to_load_from_cache

    home = Path(cache_folder({"HF_HOME": str(tmp_path)})) / cached_name("Owner/Mix")
    snapshot = home / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc")
    (snapshot / "model_index.json").write_text("{}")
    found = try_to_load_from_cache("Owner/Mix", "model_index.json", cache_dir=tmp_path / "hub")
    assert found == str(snapshot / "model_index.json")
