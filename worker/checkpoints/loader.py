"""Loads a checkpoint and says what it is: a folder in diffusers' format, a `.safetensors` file, or a hub id.

Safetensors only, never pickle. Knows nothing of jobs. Whatever goes wrong is said as one sentence with its cure
(`CannotLoad`).
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from core.catalogue import POSTCARD, SAMPLERS, Capability, name_of
from core.events import ModelInfo
from worker.checkpoint_formats.kinds import KINDS, CannotLoad, Kind, index_of, taught
from worker.checkpoints.components import Parts, build, read_folder
from worker.checkpoints.locator import ROOT, locate
from worker.checkpoints.vae_override import read_vae
from worker.checkpoints.weight_digest import combined, digest
from worker.compiling.compiled_model import Boost
from worker.device import Device
from worker.families.lora_switcher import LoraFiles, waits
from worker.interfaces import Family, Model, Whole
from worker.memory.offload_plan import ALONE, UNPLANNED, Company, Plan
from worker.memory.placement import DENOISERS, FULL, own, place, planned
from worker.memory.size_estimate import companions_mb
from worker.paths import expanded
from worker.samplers import samplers_for
from worker.vision.companion_paths import NONE, Places
from worker.vision.companions import Tools, open_tools

__all__ = ["CannotLoad", "Loaded", "load", "locate"]

log = logging.getLogger("darkroom.models")

FEW = 4  # steps of models that were taught to need no more
#: Samplers that a checkpoint's own scheduler asks for, where another would not do.
_OWN_SAMPLERS = {"EulerAncestralDiscreteScheduler": "euler_a", "LCMScheduler": "lcm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model ready to compute, and what it says about itself. A `base.Whole` shares no forwards."""

    family: Family | Whole
    info: ModelInfo
    memory_mb: int  # of its parameters, on the device
    plan: Plan = UNPLANNED  # how it lies there
    boost: Boost | None = None  # compiled code, where there may be some
    tools: Tools = field(default_factory=Tools)  # what lies beside it
    loras: LoraFiles | None = None  # where its LoRAs are


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """What `load` is told beside the model and the device."""

    loras: LoraFiles | None
    compiled: bool
    weights: str
    vae: str
    tools: Places
    company: Company


def load(
    model: str, device: Device, progress: Callable[[], None] = lambda: None, *, loras: LoraFiles | None = None,
    compiled: bool = False, weights: str = FULL, vae: str = "", tools: Places = NONE, company: Company = ALONE,
) -> Loaded:  # fmt: skip
    """Loads `model` onto the device. `loras`: where LoRAs are; `weights`: full, or fp8 for the denoiser's.

    `compiled`: somebody will compile the networks as they are, LoRAs and all (`forward.py` compiles them without).

    `vae`: a folder, a .safetensors file or a hub id, in the place of the model's own. `tools`: what else is to lie
    beside it, before what its folder holds. `company`: who has a part of the device's memory, other programs left out.

    Raises NoRoom when models of that company had better go first, else CannotLoad.
    """
    quiet()
    try:
        how = _How(loras=loras, compiled=compiled, weights=weights, vae=vae, tools=tools, company=company)
        return _load(model, device, progress, how)
    except CannotLoad:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        cure = "try DARKROOM_DTYPE=float16, or a smaller model."
        raise CannotLoad(f"{model} does not fit into the memory of {device.name}: {cure}") from error
    except ImportError as error:
        cure = "run `make run`, or install the extra `worker`."
        raise CannotLoad(f"A library that {model} needs is missing ({error}): {cure}") from error
    except Exception as error:
        # Libraries raise whatever they like on a broken checkpoint; the owner needs one sentence.
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise CannotLoad(f"{model} could not be loaded ({text}). Is the download complete?") from error


def quiet() -> None:
    """No progress bars and no advice to programmers: a worker's output is a log."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for voice in (diffusers_logging, transformers_logging):
        voice.disable_progress_bar()
        voice.set_verbosity_error()


def _load(model: str, device: Device, progress: Callable[[], None], how: _How) -> Loaded:
    where = locate(model, progress)
    progress()
    vae = how.vae
    if where.is_file():
        from worker.checkpoint_formats.single_file import family_of, read_file

        other = read_vae(vae, family_of(where), device) if vae else None
        parts = read_file(where, device, progress, None if other is None else other.network)
    else:
        index = index_of(where, model)
        kind = KINDS.get(index["_class_name"])
        if kind is None:
            return _whole(model, where, device, how)
        other = read_vae(vae, kind.family, device) if vae else None
        parts = read_folder(where, kind, index, device, progress, None if other is None else other.network)
    family = build(parts, device, how.loras, compiled=how.compiled)
    info = _info(model, parts, family, device)
    if other is not None:
        info = replace(info, digest=combined(info.digest, other.digest))
    tools = how.tools.over(Places.beside(where)) if where.is_dir() else how.tools
    return replace(_placed(family, info, device, replace(how, tools=tools)), loras=how.loras)


def _placed(family: Family | Whole, info: ModelInfo, device: Device, how: _How) -> Loaded:
    """On the device, as far as it fits there, with what lies beside it."""
    company = replace(how.company, tools=companions_mb(how.tools, device.dtype.itemsize))
    plan = planned(family, device, how.weights, info.name, company)
    log.info("%s: %s.", info.name, plan.sentence())
    place(family.parts, plan, device.place, device.dtype)
    if any(waits(network) for name, network in family.parts.items() if name in DENOISERS):
        info = replace(info, edits=tuple(edit for edit in info.edits if edit != Capability.LORA))
    return furnish(Loaded(family=family, info=info, memory_mb=memory_mb(family), plan=plan), how.tools, device)


def _whole(model: str, folder: Path, device: Device, how: _How) -> Loaded:
    from worker.families.generic_pipeline import AnyPipeline

    family = AnyPipeline.load(folder, device)
    few = bool(taught(_last(model))) or family.distilled
    info = ModelInfo(
        name=_name(model),
        family=family.name,
        digest=digest(folder, folder.glob("*/*.safetensors")),
        dtype=device.dtype_name,
        native=family.native,
        multiple=family.multiple,
        steps=FEW if few else family.steps,
        # Nothing at all: some pipelines guide above 1, others above 0.
        guidance=0.0 if few and not family.told_scale else family.scale,
        sampler=family.sampler,
        samplers=(family.sampler,),
        edits=tuple(edit.value for edit in family.edits),
    )
    # Nobody compiles for a pipeline that runs whole.
    return _placed(family, info, device, replace(how, company=replace(how.company, compiler=False)))


def furnish(loaded: Loaded, places: Places, device: Device) -> Loaded:
    """The model with what lies in these places beside it, in the place of what it had of the kind."""
    if places == NONE:
        return loaded
    tools = open_tools(places, loaded.family.parts, device.place, device.dtype).over(loaded.tools)
    for network in tools.networks:
        own(network)
    edits = tuple(dict.fromkeys((*loaded.info.edits, *(edit.value for edit in tools.edits))))
    return replace(
        loaded, tools=tools, info=replace(loaded.info, edits=edits), memory_mb=memory_mb(loaded.family, tools)
    )  # fmt: skip


def memory_mb(family: Model, tools: Tools | None = None) -> int:
    """MB of parameters and buffers that lie on its device."""
    networks = (*family.parts.values(), *(tools.networks if tools is not None else ()))
    tensors = (tensor for part in networks for tensor in (*part.parameters(), *part.buffers()))
    there = (tensor for tensor in tensors if tensor.device.type == family.device.type)
    unique = {id(tensor): tensor.numel() * tensor.element_size() for tensor in there}
    return -(-sum(unique.values()) >> 20)


def _last(model: str) -> str:
    """The last part of its path or hub id, as its author wrote it: small letters would hide where words begin."""
    return model.rstrip("/").rpartition("/")[2].removesuffix(".safetensors")


def _name(model: str) -> str:
    """As the bot calls it too: by the path as it was given, since a link in it has a name of its own."""
    place = expanded(model)
    return name_of(str(place.absolute()) if place.exists() else model)


def _info(model: str, parts: Parts, family: Family, device: Device) -> ModelInfo:
    shipped = parts.root == (ROOT / POSTCARD.path).resolve()
    steps, guidance, sampler = _usual(_last(model), parts.kind, family, parts.index)
    return ModelInfo(
        name=_name(model),
        family=family.name,
        digest=digest(parts.root, parts.files),
        dtype=device.dtype_name,
        native=family.native,
        multiple=POSTCARD.multiple if shipped else family.multiple,
        steps=POSTCARD.steps if shipped else steps,
        guidance=POSTCARD.guidance if shipped else guidance,
        sampler=POSTCARD.sampler if shipped else sampler,
        samplers=samplers_for(family.scheduler),
        edits=tuple(edit.value for edit in family.edits),
    )


def _usual(name: str, kind: Kind, family: Family, index: Mapping[str, object]) -> tuple[int, float, str]:
    """Steps, guidance and sampler for who names none."""
    methods = taught(name)
    few = bool(methods) or family.guidance == "none"
    scheduler = index.get("scheduler")
    asked = _OWN_SAMPLERS.get(str(scheduler[1]), "") if isinstance(scheduler, list) and len(scheduler) > 1 else ""
    asked = asked or ("lcm" if "lcm" in methods else "")
    sampler = asked if asked in SAMPLERS else kind.sampler
    if not few:
        return kind.steps, kind.guidance, sampler
    return FEW, kind.guidance if family.guidance == "input" else 1.0, sampler
