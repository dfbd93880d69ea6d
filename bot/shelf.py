"""Finds out what the configured model is, without loading it. Knows diffusers' folder format, never torch."""

import contextlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bot.config import ROOT
from core.catalogue import POSTCARD, SD15, Model, name_of
from core.errors import ConfigError
from storage.settings import Settings


def expected(setting: str) -> Model:
    """The model that DARKROOM_MODEL names, as far as can be told before a worker loads it. Raises ConfigError."""
    if setting == POSTCARD.name:
        return replace(POSTCARD, path=str(ROOT / POSTCARD.path))
    folder = Path(setting).expanduser()
    if folder.is_dir():
        return _from_folder(folder.absolute())
    if setting.startswith((".", "/", "~")) or setting.count("/") != 1:
        raise ConfigError(
            f"DARKROOM_MODEL is “{setting}”, and there is no such folder. It has to be postcard, a folder in "
            "diffusers' format, or a hub id such as owner/name."
        )
    return replace(SD15, name=name_of(setting), path=setting)


async def remember(settings: Settings, model: Model) -> None:
    """Keeps what a worker said of its model, for the starts at which no worker has spoken yet."""
    await settings.put_state("model", asdict(model))


async def remembered(settings: Settings, model: Model) -> Model:
    """`model` as a worker knew it at an earlier start, where it is still the configured one."""
    stored = await settings.state("model")
    if isinstance(stored, dict) and stored.get("path") == model.path:
        with contextlib.suppress(TypeError, ValueError):
            # Only a worker can tell which weights it finds this time.
            return replace(Model.from_dict(stored), sizes=model.sizes, digest="")
    return model


def _from_folder(folder: Path) -> Model:
    if not (folder / "model_index.json").is_file():
        raise ConfigError(f"DARKROOM_MODEL names {folder}, without a model_index.json: it is not a diffusers folder.")
    unet, vae = _read(folder / "unet" / "config.json"), _read(folder / "vae" / "config.json")
    shrink = 2 ** (len(vae.get("block_out_channels", (1, 1, 1, 1))) - 1)
    size = unet.get("sample_size", 64)
    native = int(size if isinstance(size, int) else size[0]) * shrink
    # A UNet halves the latents at every level but the last.
    multiple = shrink * 2 ** (len(unet.get("block_out_channels", (1, 1, 1, 1))) - 1)
    return replace(
        SD15,
        name=name_of(str(folder)),
        path=str(folder),
        native=native,
        multiple=multiple,
        min_side=max(multiple, native // 2),
        max_side=native * 2,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}). The model's folder is not complete; fetch it again."
        ) from error
    return data if isinstance(data, dict) else {}
