"""Finds a checkpoint by what the owner calls it: postcard, a folder, a `.safetensors` file, a hub id, or its file.

Of a hub repository only configs and plain safetensors are fetched, never pickles. Loads nothing.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from core.catalogue import POSTCARD
from core.folder_format import UNUSED
from worker.checkpoint_formats.kinds import PIPELINE_KINDS, PipelineKind, check_folder, read_model_index
from worker.errors import CannotLoad
from worker.paths import ROOT, existing

#: What is fetched of every repository before its weights.
SMALL_FILES = ("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.jinja")
#: Weights that are not the plain ones: other precisions, training's copies, other frameworks'.
IGNORED_WEIGHTS = ("*.fp16*", "*.bf16*", "*non_ema*", "*.ema*", "*flax*", "*openvino*", "*onnx*")
#: Of names of weights, from the most to the least wanted.
HALVES = ("fp16", "bf16")
PICKLES = (".ckpt", ".pt", ".pth", ".bin")


def _nothing() -> None:
    """Where nobody asks for progress."""


def is_location(model: str) -> bool:
    """False for a plain word that names no file here: only the bot's catalogue can say what it stands for."""
    return model == POSTCARD.name or "/" in model or existing(model) is not None


def locate(model: str, progress: Callable[[], None] = _nothing) -> Path:
    """The checkpoint's folder or file; hub ids are fetched, or found in the cache when offline. Raises CannotLoad.

    `progress` is called whenever something has come, from any thread: what takes an hour is not stuck.
    """
    if model == POSTCARD.name:
        return _checked(ROOT / POSTCARD.path, model)
    place = existing(model)
    if place is not None:
        return _checked(place.resolve(), model) if place.is_dir() else _file(place.resolve())
    far = not model.startswith((".", "/", "~"))
    if far and model.count("/") >= 2 and model.endswith(".safetensors"):
        return _fetch_file(model, progress)
    if not far or model.count("/") != 1 or model.endswith((".safetensors", *PICKLES)):
        cure = "a hub id looks like owner/name."
        raise CannotLoad(f"DARKROOM_MODEL is {model!r}, but there is no such folder and no such file; {cure}")
    return _checked(_checkpoint(model, progress), model)


def _fetch_file(model: str, progress: Callable[[], None]) -> Path:
    """A checkpoint in one file of a hub repository: `owner/name/file.safetensors`."""
    owner, name, file = model.split("/", 2)
    path = fetch(f"{owner}/{name}", [file], progress=progress) / file
    if not path.is_file():
        raise CannotLoad(f"The repository {owner}/{name} has no file {file}: check its name.")
    return path


def _file(path: Path) -> Path:
    if path.suffix in PICKLES:
        cure = "get it as .safetensors, or convert it; pickled weights are never loaded."
        raise CannotLoad(f"{path.name} is a pickle, which can run anything when it is read: {cure}")
    if path.suffix != ".safetensors":
        raise CannotLoad(f"{path.name} is not a checkpoint: a single file has to end in .safetensors.")
    return path


def _checked(folder: Path, model: str) -> Path:
    index = read_model_index(folder, model)
    kind = PIPELINE_KINDS.get(index["_class_name"])
    if kind is not None:
        check_folder(folder, kind, index)
    return folder


def _checkpoint(model: str, progress: Callable[[], None]) -> Path:
    folder = fetch(model, SMALL_FILES, progress=progress)
    for pattern in _weights(folder, PIPELINE_KINDS.get(read_model_index(folder, model)["_class_name"])):
        fetch(model, [pattern], IGNORED_WEIGHTS, progress)
        for half in HALVES:
            # Some repositories hold half precision only, of some networks or of all.
            if not list(folder.glob(pattern)):
                fetch(model, [pattern.replace("*.safetensors", f"*.{half}*.safetensors")], progress=progress)
    return folder


def fetch(
    repository: str, patterns: Iterable[str], without: Iterable[str] = (), progress: Callable[[], None] = _nothing
) -> Path:
    """These files of a hub repository: the folder that they are in. Raises CannotLoad."""
    from huggingface_hub import snapshot_download

    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    try:
        found = snapshot_download(
            repository, allow_patterns=list(patterns), ignore_patterns=list(without), local_files_only=offline,
            tqdm_class=_bar(progress),
        )  # fmt: skip
    except Exception as error:
        where = "in the local cache (offline)" if offline else "on the hub"
        cure = "Check the name and the network, or set DARKROOM_MODEL to a folder."
        raise CannotLoad(f"{repository} was not found {where}. {cure}") from error
    return Path(found)


def _bar(progress: Callable[[], None]) -> Any:
    """A progress bar, as the hub's library wants one for the bytes that come: it shows nothing and says so."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Bar(tqdm):
        def __init__(self, *args: Any, **how: Any) -> None:
            super().__init__(*args, **{**how, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            if n:
                progress()
            shown: bool | None = super().update(n)
            return shown

    return Bar


def _weights(folder: Path, kind: PipelineKind | None) -> list[str]:
    """One pattern for each network; those of a pipeline without a family are what has a config of its own."""
    names = kind.networks if kind is not None else {path.parent.name for path in folder.glob("*/config.json")} - UNUSED
    return [f"{name}/*.safetensors" for name in names]
