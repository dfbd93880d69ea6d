"""The images and the compose file hold together: stages, users, scripts, secrets, the time to stop. Needs no engine."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from bot.config import VARIABLES
from tests.harness.source_tree import ROOT

DRAIN_SECONDS = 20


def instructions() -> list[tuple[str, str]]:
    """(WORD, rest) of each instruction of the Dockerfile, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, those of the stages it stands on first."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for word, rest in instructions():
        if word == "FROM":
            origin, _, name = rest.split()
            current = list(found.get(origin, []))
            found[name] = current
        else:
            current.append((word, rest))
    return found


@pytest.mark.parametrize("target", ["bot", "worker"])
def test_an_image_runs_as_nobody_special(target: str) -> None:
    users = [rest for word, rest in stages()[target] if word == "USER"]
    assert users
    assert users[-1].isdecimal()
    assert int(users[-1]) >= 1000


def test_every_base_image_is_pinned_to_a_patch_release() -> None:
    foreign = [rest.split()[0] for word, rest in instructions() if word == "FROM" and rest.split()[0] not in stages()]
    assert foreign
    assert all(re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+-[a-z-]+", image) for image in foreign)


def test_the_bots_image_asks_the_bot_for_its_health() -> None:
    checks = [rest for word, rest in stages()["bot"] if word == "HEALTHCHECK"]
    assert len(checks) == 1
    assert checks[0].endswith('CMD ["python", "bot.py", "health"]')


def test_the_bots_image_has_no_torch_and_the_workers_no_discord() -> None:
    steps = {target: " ".join(rest for _, rest in stages()[target]) for target in stages()}
    assert "install.sh bot" in steps["install-bot"]
    assert "install.sh worker" in steps["install-worker"]
    assert "install-worker" not in steps["bot"]
    assert "install-bot" not in steps["worker"]
    assert "./bot" not in steps["worker"]
    assert "./storage" not in steps["worker"]


@pytest.mark.parametrize("target", ["bot", "worker"])
def test_both_images_have_the_loras_of_the_shipped_catalogue(target: str) -> None:
    entries = tomllib.loads((ROOT / "models.toml").read_text("utf-8"))["lora"]
    copied = [Path(rest.split()[0]) for word, rest in stages()[target] if word == "COPY"]
    assert entries
    for entry in entries:
        assert set(Path(entry["where"]).parents) & set(copied), entry["name"]


def test_all_that_is_copied_exists_and_reaches_the_builder() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            source = rest.split()[0]
            assert (ROOT / source).exists(), source
            assert {source, *(str(above) for above in Path(source).parents)} & let_in, source
    scripts = {name for _, rest in instructions() for name in re.findall(r"scripts/[\w.]+", rest)}
    assert scripts
    assert all((ROOT / name).stat().st_mode & 0o100 for name in scripts)


def test_the_dockerfile_passes_its_linter() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if not linter:
        pytest.skip("hadolint has no build for this machine")
    done = subprocess.run([linter, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout + done.stderr == ""


@pytest.fixture
def compose() -> dict:
    return yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def test_compose_builds_the_two_targets(compose: dict) -> None:
    targets = {name: service["build"]["target"] for name, service in compose["services"].items()}
    assert targets == {"bot": "bot", "worker": "worker"}
    assert set(targets.values()) <= set(stages())


def test_compose_leaves_time_for_the_drain(compose: dict) -> None:
    for service in compose["services"].values():
        assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS


def test_compose_gives_the_worker_the_gpu_and_the_bot_the_token(compose: dict) -> None:
    bot, worker = compose["services"]["bot"], compose["services"]["worker"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"
    assert device["capabilities"] == ["gpu"]
    assert "deploy" not in bot
    assert bot["env_file"] == ".env"
    assert "env_file" not in worker
    assert "DISCORD_TOKEN" not in worker["environment"]


def test_compose_lets_the_worker_find_the_bots_worker_server(compose: dict) -> None:
    bot, worker = compose["services"]["bot"], compose["services"]["worker"]
    port = bot["environment"]["DARKROOM_WORKER_LISTEN"].rsplit(":")[-1]
    assert worker["command"] == ["--connect", f"bot:{port}"]
    assert bot["environment"]["DARKROOM_WORKER"] == "none"
    assert bot["environment"]["DARKROOM_WORKER_KEY"] == worker["environment"]["DARKROOM_WORKER_KEY"]
    assert "ports" not in bot, "the door is for the compose network alone"
    internal = {name for name, network in compose["networks"].items() if (network or {}).get("internal")}
    assert set(bot["networks"]) & set(worker["networks"]) == internal, "what both are in leads to the door, too"
    assert len(internal) == 1 and all(set(service["networks"]) - internal for service in (bot, worker))


def test_compose_names_only_settings_that_exist_and_volumes_that_are_declared(compose: dict) -> None:
    known = {variable.name for variable in VARIABLES}
    for service in compose["services"].values():
        assert set(service["environment"]) <= known
        assert {volume.split(":")[0] for volume in service["volumes"]} <= set(compose["volumes"])
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
