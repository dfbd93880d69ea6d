"""Files and folders as nobody should have made them, each beside whole ones. All are small, and nothing is read."""

import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from tests.harness import weight_files

CONTEXT = f"lora_unet_{weight_files.CONTEXT.replace('.', '_')[:-7]}.lora_down.weight"


def with_header(path: Path, header: object) -> Path:
    """A .safetensors file with this header and nothing behind it."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return path


def lora_header(**changes: object) -> dict[str, object]:
    return {CONTEXT: {"dtype": "F16", "shape": [4, 768], "data_offsets": [0, 6144]} | changes}


def with_config(models: Path, file: str, text: str | None) -> Path:
    """A model's folder in which one file says something else; None: a pipe, at which a reader waits for ever."""
    folder = weight_files.folder(models / "odd")
    (folder / file).unlink()
    if text is None:
        os.mkfifo(folder / file)
    else:
        (folder / file).write_text(text)
    return folder


def index(**changes: object) -> str:
    plain = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    return json.dumps(plain | changes)


def circle(folder: Path) -> None:
    """Two links to the folder itself: all ways through them are more than anybody can go."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a").symlink_to(folder)
    (folder / "b").symlink_to(folder)


def circle_in_a_model(models: Path) -> None:
    circle(weight_files.folder(models / "odd") / "unet")
    (models / "odd" / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def deep(folder: Path) -> None:
    """Deeper than any model is."""
    here = Path.cwd()
    try:
        for _ in range(300):
            folder.mkdir()
            os.chdir(folder)
            folder = Path("d")
    finally:
        os.chdir(here)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def not_utf8(folder: Path, ending: str) -> Path:
    return folder / os.fsdecode(b"odd\xff" + ending.encode())


#: Each is one file or folder that cannot be used, so one line of the log tells of it.
UNUSABLE: dict[str, Callable[[Path, Path], object]] = {
    "a lora's name that is not UTF-8": lambda models, loras: weight_files.lora(not_utf8(loras, ".safetensors")),
    "a model's name that is not UTF-8": lambda models, loras: weight_files.checkpoint(not_utf8(models, ".safetensors")),
    "a folder's name that is not UTF-8": lambda models, loras: weight_files.folder(not_utf8(models, "")),
    "an offset beyond all numbers": lambda models, loras: with_header(
        loras / "odd.safetensors", lora_header(dtype="F7", data_offsets=[0, 10**400])
    ),
    "an offset beyond all disks": lambda models, loras: with_header(
        loras / "odd.safetensors", lora_header(dtype="F7", data_offsets=[0, 1 << 62])
    ),
    "a shape of huge sides": lambda models, loras: with_header(
        loras / "odd.safetensors", lora_header(shape=[10**4000] * 500)
    ),
    "a shape of endless sides": lambda models, loras: with_header(
        loras / "odd.safetensors", lora_header(shape=[1 << 62] * 20_000)
    ),
    "half a character in a tensor's name": lambda models, loras: with_header(
        loras / "odd.safetensors", {"\ud800": {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}, **lora_header()}
    ),
    "a header of brackets": lambda models, loras: (loras / "odd.safetensors").write_bytes(
        struct.pack("<Q", 90_000) + b"[" * 90_000
    ),
    "a pipe for a lora": lambda models, loras: os.mkfifo(loras / "odd.safetensors"),
    "a pipe for a model": lambda models, loras: os.mkfifo(models / "odd.safetensors"),
    "a socket for a model": lambda models, loras: listening(models / "odd.safetensors"),
    "a device for a model": lambda models, loras: (models / "odd.safetensors").symlink_to("/dev/zero"),
    "a device for a lora": lambda models, loras: (loras / "odd.safetensors").symlink_to("/dev/zero"),
    "a link to nothing": lambda models, loras: (loras / "odd.safetensors").symlink_to(loras / "nothing"),
    "a link to itself": lambda models, loras: (loras / "odd.safetensors").symlink_to(loras / "odd.safetensors"),
    "a link to itself for a model": lambda models, loras: (models / "odd.safetensors").symlink_to(
        models / "odd.safetensors"
    ),
    "a link with an endless name": lambda models, loras: (models / "odd.safetensors").symlink_to("x" * 300),
    "links in circles": lambda models, loras: circle(models / "odd"),
    "links in circles inside a model": lambda models, loras: circle_in_a_model(models),
    "a folder that never ends": lambda models, loras: deep(models / "odd"),
    "a pipe for an index": lambda models, loras: with_config(models, "model_index.json", None),
    "a pipe for a config": lambda models, loras: with_config(models, "unet/config.json", None),
    "brackets in an index": lambda models, loras: with_config(models, "model_index.json", "[" * 100_000),
    "brackets in a config": lambda models, loras: with_config(models, "vae/config.json", "[" * 100_000),
    "an endless size": lambda models, loras: with_config(models, "unet/config.json", '{"sample_size": [1e999]}'),
    "a size of many digits": lambda models, loras: with_config(
        models, "unet/config.json", f'{{"sample_size": {10**4000}}}'
    ),
    "a part that is the whole disk": lambda models, loras: with_config(
        models, "model_index.json", index(**{"/": ["a", "b"]})
    ),
    "a part outside": lambda models, loras: with_config(
        models, "model_index.json", index(**{"../../data": ["a", "b"]})
    ),
    "a part with an endless name": lambda models, loras: with_config(
        models, "model_index.json", index(**{"x" * 300: ["a", "b"]})
    ),
    "a part with no name": lambda models, loras: with_config(
        models, "model_index.json", index(**{"\0": ["a", "b"], "": ["a", "b"]})
    ),
}
