"""The bot's process at its edges: what it says before it runs, and how it ends when nobody wants its words."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bot.config import ROOT

pytestmark = pytest.mark.e2e
NO_DISCORD = {"DISCORD_API_URL": "http://127.0.0.1:9", "DARKROOM_WORKER": "none"}


def clean(**environ: str) -> dict[str, str]:
    """This machine's environment without its settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DARKROOM_", "DISCORD_"))}
    return kept | environ


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`python` with these words, to its end."""
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=ROOT, env=clean(**environ), capture_output=True, text=True, timeout=60, check=False
    )


def test_a_damaged_database_is_said_alike_by_the_doctor_and_the_start(tmp_path: Path) -> None:
    (tmp_path / "darkroom.sqlite3").write_bytes(b"no database " * 500)
    environ = NO_DISCORD | {"DARKROOM_DATA": str(tmp_path)}
    started, examined = run("bot.py", **environ), run("bot.py", "doctor", **environ)
    assert started.returncode == 2
    assert started.stderr.count("\n") == 1
    sentence = started.stderr.strip().removeprefix("darkroom: ")
    assert "darkroom.sqlite3 is damaged" in sentence and "Put a backup in its place" in sentence
    assert f"WRONG {sentence}\n" in examined.stdout


def test_a_misspelt_setting_is_said_by_the_doctor_and_the_start_and_stops_neither(tmp_path: Path) -> None:
    (tmp_path / "darkroom.sqlite3").write_bytes(b"no database " * 500)  # or the bot would run
    environ = NO_DISCORD | {"DARKROOM_DATA": str(tmp_path), "DARKROOM_RUNING": "5"}
    said = "DARKROOM_RUNING is not a setting. Did you mean DARKROOM_RUNNING?"
    assert f"WARNING bot.main: {said}" in run("bot.py", **environ).stderr
    assert f"·     {said}\n" in run("bot.py", "doctor", **environ).stdout


def test_a_busy_port_for_far_workers_ends_the_bot_with_its_cure(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("bot.py", **NO_DISCORD, DARKROOM_DATA=str(tmp_path), DARKROOM_WORKER_LISTEN=where)
    assert done.returncode == 2
    assert f"darkroom: DARKROOM_WORKER_LISTEN is “{where}”, but another program is listening there." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_is_an_answer_and_no_complaint(word: str) -> None:
    done = run("bot.py", word)
    assert "python bot.py doctor" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


def test_the_doctor_ends_quietly_when_nobody_reads_on(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environ = clean(DARKROOM_DATA=str(tmp_path), DARKROOM_WORKER="none", PYTHONUNBUFFERED="1")
    for unbuffered in ("1", ""):
        done = subprocess.run(
            [sys.executable, "bot.py", "doctor"],
            cwd=ROOT,
            env=environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        assert done.stderr == b""
    os.close(writing)


@pytest.mark.parametrize(
    ("words", "library"), [(["bot.py"], "dotenv"), (["-m", "scripts.start"], "dotenv"), (["-m", "sandbox"], "aiohttp")]
)
def test_a_ctrl_c_while_the_libraries_load_ends_quietly(tmp_path: Path, words: list[str], library: str) -> None:
    # What runs in the background is started deaf to SIGINT, and hands that on: here it has to be heard.
    hears = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    (tmp_path / f"{library}.py").write_text(f"{hears}signal.raise_signal(signal.SIGINT)\n")
    done = run(*words, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
