"""What keeps a sandbox from starting is said in a sentence that names the setting or the option, and the cure."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import settings, startup
from sandbox.errors import CannotStart
from sandbox.model_words import words_about
from sandbox.sandbox import Config
from tests.harness.running_sandbox import ROOT

NOWHERE = Path("/nonexistent/.env")


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`python -m sandbox` with nothing of this machine's settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DARKROOM_", "DISCORD_"))}
    command = [sys.executable, "-m", "sandbox", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=clean | environ, capture_output=True, text=True, timeout=30, check=False
    )


def refused(data: Path) -> str:
    """Why no sandbox can keep its world there."""
    with pytest.raises(CannotStart) as caught:
        startup.open_sandbox(Config(data=data, base="http://x"))
    return caught.value.sentence


def test_a_file_in_the_place_of_the_folder_is_not_taken_for_a_bad_port(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    done = run("--port", "0", DARKROOM_DATA=str(tmp_path / "data"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"cannot keep its world in {tmp_path / 'data' / 'sandbox'}" in done.stderr
    assert "DARKROOM_DATA in .env, or --data" in done.stderr


def test_a_world_that_cannot_be_opened_is_no_other_sandbox(tmp_path: Path) -> None:
    (tmp_path / "world.sqlite3").mkdir()
    assert "Another sandbox" not in refused(tmp_path)
    assert "Let this user write there" in refused(tmp_path)


def test_a_damaged_world_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "world.sqlite3").write_bytes(b"no database " * 500)
    assert "world.sqlite3 is damaged" in refused(tmp_path)
    assert "Move it away" in refused(tmp_path)


def test_only_a_locked_world_is_another_sandboxs(tmp_path: Path) -> None:
    first = startup.open_sandbox(Config(data=tmp_path, base="http://x"))
    try:
        assert refused(tmp_path).startswith(f"Another sandbox is using {tmp_path}. Stop it")
    finally:
        first.close()


def test_a_port_in_use_names_the_setting_beside_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(DARKROOM_PORT=str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "Choose another port: DARKROOM_PORT in .env, or --port." in done.stderr


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a..b"])
def test_an_address_that_is_not_this_machines_names_its_option(host: str) -> None:
    with pytest.raises(CannotStart, match="Choose another --host"):
        startup.open_listener(host, 0)


@pytest.mark.parametrize("text", ["99999", "-1", "abc", "80.5", "²"])
def test_a_port_that_is_none_is_named_with_the_cure(text: str) -> None:
    with pytest.raises(CannotStart, match=rf"DARKROOM_PORT is “{text}”\. .* from 0 to 65535\."):
        settings.read({"DARKROOM_PORT": text}, NOWHERE)


def test_blanks_count_as_left_out(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DARKROOM_PORT=1234\nDARKROOM_DATA=elsewhere\n")
    assert settings.read({}, tmp_path / ".env") == settings.Settings(ROOT / "elsewhere", 1234)
    blank = {"DARKROOM_DATA": " ", "DARKROOM_PORT": " "}
    assert settings.read(blank, NOWHERE) == settings.Settings(ROOT / "data", 8800)


def test_model_words_are_those_of_the_catalogue_for_the_model_that_is_set(tmp_path: Path) -> None:
    assert "mushroom" in words_about(settings.read({}, NOWHERE).model)
    assert words_about(settings.read({"DARKROOM_MODEL": "./my.safetensors"}, NOWHERE).model) == ""
    (tmp_path / "broken.toml").write_text("[[model]")
    assert words_about("postcard", tmp_path / "broken.toml") == words_about("postcard", tmp_path / "none.toml") == ""


def test_a_home_that_nobody_has_is_said() -> None:
    with pytest.raises(CannotStart, match=r"DARKROOM_DATA is “~nobodyxx/d”.*Write out the full path"):
        settings.read({"DARKROOM_DATA": "~nobodyxx/d"}, NOWHERE)


def test_an_env_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"DARKROOM_BLOCKED=M\xfcll\n")
    with pytest.raises(CannotStart, match="not in UTF-8"):
        settings.read({}, tmp_path / "latin")
    with pytest.raises(CannotStart, match="cannot be read"):
        settings.read({}, tmp_path)


def test_a_typed_port_is_checked_too() -> None:
    done = run("--port", "99999")
    assert "--port is “99999”. It has to be a whole number" in done.stderr
    assert "Traceback" not in done.stderr
