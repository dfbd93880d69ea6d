"""Writes checkpoints again under the names that weights have on hubs: by precision, whole or in shards, old or new."""

import shutil
from pathlib import Path

import diffusers
import torch

from core.hub_files import RemoteFile, Repository

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
PIECE = "60KB"  # of a sharded network


def saved(source: Path, folder: Path, variant: str, *, sharded: bool = False) -> Path:
    """The checkpoint as diffusers saves it in this precision; an empty variant is the plain one."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(source)
    pipeline.to(DTYPES.get(variant, torch.float32))
    how = {"max_shard_size": PIECE} if sharded else {}
    pipeline.save_pretrained(folder, variant=variant or None, safe_serialization=True, **how)
    return folder


def rounded(source: Path, folder: Path) -> Path:
    """The same checkpoint with weights that every precision can hold, so that all copies of it are equal."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(source)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            for tensor in (*part.parameters(), *part.buffers()):
                if tensor.is_floating_point():
                    # bfloat16 has fewer digits than float16, and what is tiny in float16 has fewer still.
                    small = torch.where(tensor.abs() < 1e-4, torch.zeros_like(tensor), tensor)
                    tensor.data.copy_(small.to(torch.bfloat16))
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def taken_from(place: Path, component: str, folder: Path) -> None:
    """Another copy's component in the place of this one's."""
    shutil.rmtree(folder / component)
    shutil.copytree(place / component, folder / component)


def spelled_as_before(folder: Path, variant: str) -> None:
    """Renames shards and indexes as older versions of diffusers wrote them."""
    for index in folder.glob(f"*/*.index.{variant}.json"):
        text = index.read_text()
        for shard in index.parent.glob(f"*.{variant}-*.safetensors"):
            stem, place = shard.name.removesuffix(".safetensors").split(f".{variant}")
            name = f"{stem}{place}.{variant}.safetensors"
            text = text.replace(shard.name, name)
            shard.rename(shard.with_name(name))
        index.unlink()
        index.with_name(index.name.replace(f".index.{variant}.json", f".{variant}.index.json")).write_text(text)


def repository(folder: Path) -> Repository:
    """The folder as a hub lists it."""
    files = {
        path.relative_to(folder).as_posix(): RemoteFile(size=path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }
    return Repository(id="owner/name", revision="0", files=files)


def fetched(source: Path, names: tuple[str, ...], folder: Path) -> Path:
    """These files alone, as if they had been downloaded."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, folder / name)
    return folder
