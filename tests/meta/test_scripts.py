"""The scripts behind `make`: they install once, say what is missing, and start the right program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.requirements import requirements
from scripts.start import command, main
from tests.harness.source_tree import ROOT

#: Passes all on to the real Python, but notes what pip is asked to install instead of installing it.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
  *"pip install"*) echo "$*" >>"$PIP_CALLS" ;;
  *) exec {python} "$@" ;;
esac
"""


class Installer:
    """scripts/install.sh with an environment of its own in which pip only writes down its orders."""

    def __init__(self, folder: Path) -> None:
        self.calls = folder / "calls"
        self.venv = folder / "venv"
        (self.venv / "bin").mkdir(parents=True)
        python = self.venv / "bin/python"
        python.write_text(FAKE_PYTHON.format(python=sys.executable))
        python.chmod(0o755)

    def run(self, *parts: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "VENV": str(self.venv), "PIP_CALLS": str(self.calls), "TORCH": "cpu", "TORCH_INDEX": ""}
        script = [str(ROOT / "scripts/install.sh"), *parts]
        return subprocess.run(
            script, env={**env, **environment}, capture_output=True, text=True, timeout=60, check=False
        )

    def installs(self) -> int:
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def installer(tmp_path: Path) -> Installer:
    return Installer(tmp_path)


def test_a_second_run_installs_nothing(installer: Installer) -> None:
    assert installer.run("bot", "worker").returncode == 0
    assert installer.installs() == 1
    again = installer.run("bot", "worker")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert installer.installs() == 1


def test_a_part_that_is_new_is_installed_alone(installer: Installer) -> None:
    installer.run("bot")
    said = installer.run("bot", "dev").stdout
    assert "need: dev (" in said
    assert installer.installs() == 2


def test_another_kind_of_machine_is_installed_anew(installer: Installer) -> None:
    installer.run("bot")
    installer.run("bot", TORCH="cuda")
    assert "constraints/cuda.txt" in installer.calls.read_text()
    assert installer.installs() == 2


def test_a_failed_installation_is_tried_again(installer: Installer) -> None:
    good = (installer.venv / "bin/python").read_text()
    (installer.venv / "bin/python").write_text(good.replace('echo "$*" >>"$PIP_CALLS"', "exit 1"))
    failed = installer.run("bot")
    assert failed.returncode == 1
    assert "Run it again" in failed.stderr
    (installer.venv / "bin/python").write_text(good)
    assert installer.run("bot").returncode == 0
    assert installer.installs() == 1


@pytest.mark.parametrize(("keeps", "how"), [("", "--no-compile"), ("1", "--compile")])
def test_all_is_compiled_at_once_only_where_python_keeps_nothing_later(
    installer: Installer, keeps: str, how: str
) -> None:
    assert installer.run("bot", PYTHONDONTWRITEBYTECODE=keeps).returncode == 0
    assert how in installer.calls.read_text().split()


def test_a_python_that_is_missing_is_named_with_the_cure(tmp_path: Path) -> None:
    installer = Installer(tmp_path)
    refused = installer.run("bot", VENV=str(tmp_path / "none"), PYTHON="/no/such/python")
    assert refused.returncode == 1
    assert "Python 3.11 or newer; /no/such/python is missing" in refused.stderr
    assert "PYTHON=" in refused.stderr


def test_words_that_are_no_parts_and_kinds_are_refused(installer: Installer) -> None:
    assert "no part of that name: nope" in installer.run("nope").stderr
    assert "it can be cpu or cuda" in installer.run("bot", TORCH="tpu").stderr
    assert "Usage" in installer.run().stderr
    assert installer.installs() == 0


def test_the_bot_needs_no_torch_and_the_worker_no_discord() -> None:
    assert not [line for line in requirements(["bot"]) if line.startswith(("torch", "diffusers"))]
    assert not [line for line in requirements(["worker"]) if line.startswith(("discord", "aiosqlite"))]


def test_a_token_decides_between_discord_and_the_sandbox() -> None:
    assert command({"DISCORD_TOKEN": "secret"})[1:] == ["bot.py"]
    assert command({})[1:] == ["-m", "sandbox", "--with-bot"]
    assert command({"DISCORD_TOKEN": " "})[1:] == ["-m", "sandbox", "--with-bot"]


def test_an_env_file_that_cannot_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".env").write_bytes(b"DARKROOM_BLOCKED=M\xfcll\n")
    with pytest.raises(SystemExit) as ended:
        main(tmp_path / ".env")
    assert ended.value.code == 2
    assert "not in UTF-8" in capsys.readouterr().err
