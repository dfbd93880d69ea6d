"""The worker's settings, from its options, the environment and the bot that starts it."""

from pathlib import Path

import pytest

from bot.config import Config
from bot.workers import worker_options
from core.errors import ConfigError
from tests.worker.engine_driver import settings


def test_compiling_is_for_gpus_unless_it_is_off() -> None:
    assert settings().compiles_on("cuda") and not settings().compiles_on("cpu")
    assert not settings(DARKROOM_COMPILE="off").compiles_on("cuda")
    assert not settings("--compile", "off", DARKROOM_COMPILE="auto").compiles_on("cuda")


def test_weights_and_memory_come_from_the_options_or_the_environment(tmp_path: Path) -> None:
    found = settings("--weights", "fp8", "--gpu-mb", "12288", DARKROOM_DATA=str(tmp_path))
    assert (found.weights, found.gpu_mb, found.data) == ("fp8", 12288, tmp_path)
    assert (settings().weights, settings().gpu_mb) == ("full", 0)


@pytest.mark.parametrize(
    ("name", "text", "cure"),
    [
        ("DARKROOM_COMPILE", "always", "one of: auto, off"),
        ("DARKROOM_WEIGHTS", "int4", "one of: full, fp8"),
        ("DARKROOM_GPU_MB", "8GB", "whole number"),
        ("DARKROOM_NICE", "20", "from 0 to 19"),
        ("DARKROOM_ROWS", "²", "whole number"),
        ("DARKROOM_LOG", "verbose", "debug, info, warning, error"),
        ("DARKROOM_DATA", "~nobodyxx/data", "Write out the full path"),
    ],
)
def test_words_that_mean_nothing_are_refused_with_the_right_ones(name: str, text: str, cure: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is .*{text}.*{cure}"):
        settings(**{name: text})


def test_blanks_and_capitals_matter_as_little_as_to_the_bot() -> None:
    loose = {"DARKROOM_DEVICE": "CPU", "DARKROOM_DTYPE": " Float32", "DARKROOM_ROWS": " 2", "DARKROOM_MODEL": "mine "}
    found = settings(**loose, DARKROOM_LOG="Debug", DARKROOM_NICE=" ")
    assert (found.device, found.dtype, found.rows, found.model) == ("cpu", "float32", 2, "mine")
    assert (found.log, found.nice) == ("DEBUG", 10)


def test_the_local_worker_is_given_the_bots_settings(tmp_path: Path) -> None:
    environ = {"DARKROOM_DATA": str(tmp_path), "DARKROOM_COMPILE": "off", "DARKROOM_WEIGHTS": "fp8"}
    environ |= {"DARKROOM_GPU_MB": "8192", "DARKROOM_NICE": "3", "DARKROOM_DISK_FREE_MB": "700"}
    config = Config.from_env(environ, tmp_path / "none")
    found = settings(*worker_options(config, "postcard"))
    assert (found.compile, found.weights, found.gpu_mb, found.data) == (False, "fp8", 8192, tmp_path)
    assert (found.nice, found.disk_free_mb) == (3, 700)
