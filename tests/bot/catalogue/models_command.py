"""`python bot.py models`, without a process of its own."""

from pathlib import Path

from bot.catalogue.cli import run
from bot.config import Config
from tests.harness.model_hub import FakeHub

UNET = "unet/diffusion_pytorch_model.safetensors"


def config(data: Path, **environ: str) -> Config:
    return Config.from_env({"DARKROOM_DATA": str(data), "DARKROOM_DISK_FREE_MB": "0", **environ}, data / "no.env")


def models(here: FakeHub, data: Path, *words: str, answer: str = "y", **environ: str) -> int:
    settings = config(data, **environ)
    return run(settings, words, ask=lambda _: answer)
