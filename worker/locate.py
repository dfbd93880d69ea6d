"""Finds a checkpoint by what the owner calls it: postcard, a folder, a `.safetensors` file, a hub id, or its file.

Of a hub repository only configs and plain safetensors are fetched, never pickles. Loads nothing.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from core.catalogue import POSTCARD
from core.folder_format import UNUSED
from worker.kinds import KINDS, CannotLoad, Kind, check, index_of

ROOT = Path(__file__).resolve().parent.parent
#: What is fetched of every repository before its weights.
SMALL_FILES = ("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.jinja")
#: Weights that are not the plain ones: other precisions, training's copies, other frameworks'.
OTHER_WEIGHTS = ("*.fp16*", "*.bf16*", "*non_ema*", "*.ema*", "*flax*", "*openvino*", "*onnx*")
#: Of names of weights, from the most to the least wanted.
HALVES = ("fp16", "bf16")
PICKLES = (".ckpt", ".pt", ".pth", ".bin")


def is_place(model: str) -> bool:
    """False for a plain word that names no file here: only the bot's catalogue can say what it stands for."""
    here = any(path.exists() for path in (Path(model).expanduser(), ROOT / model))
    return model == POSTCARD.name or "/" in model or here


def locate(model: str) -> Path:
    """The checkpoint's folder or file; hub ids are fetched, or found in the cache when offline. Raises CannotLoad."""
    if model == POSTCARD.name:
        return _checked(ROOT / POSTCARD.path, model)
    for place in (Path(model).expanduser(), ROOT / model):
        if place.is_dir():
            return _checked(place.resolve(), model)
        if place.is_file():
            return _file(place.resolve())
    far = not model.startswith((".", "/", "~"))
    if far and model.count("/") >= 2 and model.endswith(".safetensors"):
        return _file_of(model)
    if not far or model.count("/") != 1 or model.endswith((".safetensors", *PICKLES)):
        cure = "a hub id looks like owner/name."
        raise CannotLoad(f"DARKROOM_MODEL is {model!r}, but there is no such folder and no such file; {cure}")
    return _checked(_checkpoint(model), model)


def _file_of(model: str) -> Path:
    """A checkpoint in one file of a hub repository: `owner/name/file.safetensors`."""
    owner, name, file = model.split("/", 2)
    path = fetch(f"{owner}/{name}", [file]) / file
    if not path.is_file():
        raise CannotLoad(f"The repository {owner}/{name} has no file {file}: check its name.")
    return path


def _file(path: Path) -> Path:
    if path.suffix in PICKLES:
        cure = "get it as .safetensors, or convert it; pickled weights are never loaded."
        raise CannotLoad(f"{path.name} is a pickle, which can run anything when it is read: {cure}")
    if path.suffix != ".safetensors":
        raise CannotLoad(f"{path.name} is no checkpoint: one file has to end in .safetensors.")
    return path


def _checked(folder: Path, model: str) -> Path:
    index = index_of(folder, model)
    kind = KINDS.get(index["_class_name"])
    if kind is not None:
        check(folder, kind, index)
    return folder


def _checkpoint(model: str) -> Path:
    folder = fetch(model, SMALL_FILES)
    for pattern in _weights(folder, KINDS.get(index_of(folder, model)["_class_name"])):
        fetch(model, [pattern], OTHER_WEIGHTS)
        for half in HALVES:
            # Some repositories hold half precision only, of some networks or of all.
            if not list(folder.glob(pattern)):
                fetch(model, [pattern.replace("*.safetensors", f"*.{half}*.safetensors")])
    return folder


def fetch(repository: str, patterns: Iterable[str], without: Iterable[str] = ()) -> Path:
    """These files of a hub repository: the folder that they are in. Raises CannotLoad."""
    from huggingface_hub import snapshot_download

    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    try:
        found = snapshot_download(
            repository, allow_patterns=list(patterns), ignore_patterns=list(without), local_files_only=offline
        )
    except Exception as error:
        where = "in the local cache (offline)" if offline else "on the hub"
        cure = "Check the name and the network, or point DARKROOM_MODEL to a folder."
        raise CannotLoad(f"{repository} was not found {where}. {cure}") from error
    return Path(found)


def _weights(folder: Path, kind: Kind | None) -> list[str]:
    """One pattern for each network; those of a pipeline without a family are what has a config of its own."""
    names = kind.networks if kind is not None else {path.parent.name for path in folder.glob("*/config.json")} - UNUSED
    return [f"{name}/*.safetensors" for name in names]
