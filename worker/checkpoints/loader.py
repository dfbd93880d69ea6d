"""Loads a checkpoint and says what it is: a folder in diffusers' format, a `.safetensors` file, or a hub id.

Safetensors only, never pickle. Knows nothing of jobs. Whatever goes wrong is said as one sentence with its cure
(`CannotLoad`).
"""

import importlib.util
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from core.catalogue import POSTCARD, SAMPLERS, Capability, name_of
from core.events import ModelInfo
from core.families import family_of as family_of_pipeline
from core.families import unknown_schedule
from worker.checkpoint_formats import (
    PipelineKind,
    computed_kind,
    family_of,
    few_step_methods,
    read_model_index,
    read_scheduler_config,
)
from worker.checkpoints.components import Components, build_family, read_folder
from worker.checkpoints.locator import DEFAULT_FOLDER, ModelsFolder, locate, note_of
from worker.checkpoints.single_file import read_file
from worker.checkpoints.vae_override import read_vae
from worker.checkpoints.weight_digest import combined, digest
from worker.compiling import CompiledModel
from worker.device import Device
from worker.diffusers_internals import is_group_offloaded
from worker.errors import CannotLoad
from worker.families import LoraFiles
from worker.interfaces import Family, Guidance, ModelProtocol, PipelineModel
from worker.memory import (
    DENOISERS,
    FULL,
    FULLY_RESIDENT,
    NOTHING_RESERVED,
    OffloadPlan,
    ReservedMemory,
    place_networks,
    plan_for_model,
)
from worker.paths import ROOT, expanded
from worker.samplers import samplers_for
from worker.vision import NO_COMPANIONS, CompanionPaths, LazyCompanions, read_companion_headers

log = logging.getLogger("darkroom.models")

FEW_STEPS = 4  # steps of models that were taught to need no more
#: Samplers that a checkpoint's own scheduler asks for, where another would not do.
_OWN_SAMPLERS = {"EulerAncestralDiscreteScheduler": "euler_a", "LCMScheduler": "lcm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCheckpoint:
    """A model ready to compute, and what it says about itself. A `PipelineModel` shares no forwards."""

    family: Family | PipelineModel
    info: ModelInfo
    memory_mb: int  # of its parameters, on the device, without companions
    path: Path = field(default_factory=Path)  # its folder or file
    plan: OffloadPlan = FULLY_RESIDENT  # how it lies there
    compiled_model: CompiledModel | None = None  # compiled code, where there may be some
    companions: LazyCompanions = field(default_factory=LazyCompanions)  # networks that lie beside it
    loras: LoraFiles | None = None  # where its LoRAs are


@dataclass(frozen=True, slots=True, kw_only=True)
class _LoadOptions:
    """What `load` is told beside the model and the device."""

    loras: LoraFiles | None
    weights: str
    vae: str
    companions: CompanionPaths
    reserved: ReservedMemory
    name: str
    folder: ModelsFolder


def load(
    model: str, device: Device, progress: Callable[[], None] = lambda: None, *, loras: LoraFiles | None = None,
    weights: str = FULL, vae: str = "", companions: CompanionPaths = NO_COMPANIONS,
    reserved: ReservedMemory = NOTHING_RESERVED, name: str = "", folder: ModelsFolder = DEFAULT_FOLDER,
) -> LoadedCheckpoint:  # fmt: skip
    """Loads `model` onto the device. `loras`: where LoRAs are; `weights`: full, or fp8 for the denoiser's.

    `vae`: a folder, a .safetensors file or a hub id, in the place of the model's own. `companions`: where they are,
    before what its folder holds; of them only headers are read. `reserved`: what others have of the device's memory,
    other programs left out.

    `name`: what the catalogue calls it; by that a model of the hub is looked for in `folder`, and fetched into it.

    Raises NoRoom when other models of this worker had better go first, else CannotLoad.
    """
    silence_libraries()
    try:
        how = _LoadOptions(
            loras=loras, weights=weights, vae=vae, companions=companions, reserved=reserved, name=name, folder=folder
        )
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


def silence_libraries() -> None:
    """No progress bars and no advice to programmers: a worker's output is a log."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for voice in (diffusers_logging, transformers_logging):
        voice.disable_progress_bar()
        voice.set_verbosity_error()


def _load(model: str, device: Device, progress: Callable[[], None], how: _LoadOptions) -> LoadedCheckpoint:
    where = locate(model, progress, name=how.name, folder=how.folder)
    progress()
    vae, name = how.vae, _original_name(model, where)
    if where.is_file():
        other = read_vae(vae, family_of(where), device) if vae else None
        vae_network = None if other is None else other.network
        components = read_file(where, device, progress, vae_network, original_name=name)
    else:
        index = read_model_index(where, model)
        scheduler = read_scheduler_config(where)
        _check_beta_sigmas(model, scheduler)
        kind = computed_kind(index, scheduler)
        if kind is None:
            return _load_pipeline(model, where, device, how, index, scheduler)
        other = read_vae(vae, kind.family, device) if vae else None
        components = read_folder(where, kind, index, device, progress, None if other is None else other.network)
    family = build_family(components, device, how.loras)
    info = _info(model, name, components, family, device)
    if other is not None:
        info = replace(info, digest=combined(info.digest, other.digest))
    companions = how.companions.with_defaults(CompanionPaths.in_folder(where)) if where.is_dir() else how.companions
    placed = _placed(family, info, device, replace(how, companions=companions))
    return replace(placed, loras=how.loras, path=where)


def _placed(family: Family | PipelineModel, info: ModelInfo, device: Device, how: _LoadOptions) -> LoadedCheckpoint:
    """On the device, as far as it fits there, with what is known of its companions."""
    plan = plan_for_model(family, device, how.weights, info.name, how.reserved)
    log.info("%s: %s.", info.name, plan.sentence())
    place_networks(family.parts, plan, device.torch_device, device.dtype)
    if any(is_group_offloaded(network) for name, network in family.parts.items() if name in DENOISERS):
        info = replace(info, edits=tuple(edit for edit in info.edits if edit != Capability.LORA))
    loaded = LoadedCheckpoint(family=family, info=info, memory_mb=memory_mb(family), plan=plan)
    return add_companions(loaded, how.companions, device)


def _check_beta_sigmas(model: str, scheduler: Mapping[str, Any]) -> None:
    """Raises CannotLoad where a schedule needs a library that is not here."""
    if scheduler.get("use_beta_sigmas") and importlib.util.find_spec("scipy") is None:
        raise CannotLoad(f"The scheduler of {model} uses beta sigmas, which need scipy: run `pip install scipy`.")


def _load_pipeline(
    model: str, folder: Path, device: Device, how: _LoadOptions, index: Mapping[str, Any], scheduler: Mapping[str, Any]
) -> LoadedCheckpoint:
    from worker.families import GenericPipeline

    other = None
    if how.vae and "vae" in index:
        other = read_vae(how.vae, family_of_pipeline(index["_class_name"]), device)
    elif how.vae:
        log.warning("The VAE %s is not used: the pipeline of %s has none.", how.vae, model)
    family = GenericPipeline.load(folder, device, None if other is None else other.network)
    if unknown := unknown_schedule(index, scheduler):  # it would have a family otherwise
        if not family.scales_its_input:
            cure = "Use a model with a scheduler of Stable Diffusion."
            raise CannotLoad(f"{model} cannot be drawn: not even diffusers' own pipeline takes its {unknown}. {cure}")
        log.info("%s is drawn by diffusers' own pipeline: no sampler here knows its %s.", model, unknown)
    weights = digest(folder, folder.glob("*/*.safetensors"))
    few_steps = bool(few_step_methods(_original_name(model, folder))) or family.distilled
    info = ModelInfo(
        name=_name(model),
        family=family.name,
        digest=weights if other is None else combined(weights, other.digest),
        dtype=device.dtype_name,
        native=family.native,
        multiple=family.multiple,
        steps=FEW_STEPS if few_steps else family.steps,
        # Nothing at all: some pipelines guide above 1, others above 0.
        guidance=0.0 if few_steps and not family.takes_guidance_scale else family.scale,
        sampler=family.sampler,
        samplers=(family.sampler,),
        edits=tuple(edit.value for edit in family.edits),
        ignores=family.ignores,
        negative_above=family.negative_above,
    )
    # Nobody compiles for a pipeline that runs whole.
    placed = _placed(family, info, device, replace(how, reserved=replace(how.reserved, compiler=False)))
    return replace(placed, path=folder)


def add_companions(loaded: LoadedCheckpoint, paths: CompanionPaths, device: Device) -> LoadedCheckpoint:
    """The model with the companions at these paths, in the place of what it had of the kind. Reads no weights."""
    if paths == NO_COMPANIONS:
        return loaded
    companions = read_companion_headers(paths, loaded.family.parts, device.torch_device, device.dtype)
    companions = companions.with_defaults(loaded.companions)
    edits = tuple(dict.fromkeys((*loaded.info.edits, *(edit.value for edit in companions.edits))))
    return replace(loaded, companions=companions, info=replace(loaded.info, edits=edits))


def memory_mb(family: ModelProtocol) -> int:
    """MB of parameters and buffers that lie on its device."""
    tensors = (tensor for part in family.parts.values() for tensor in (*part.parameters(), *part.buffers()))
    there = (tensor for tensor in tensors if tensor.device.type == family.device.type)
    unique = {id(tensor): tensor.numel() * tensor.element_size() for tensor in there}
    return -(-sum(unique.values()) >> 20)


def _original_name(model: str, where: Path) -> str:
    """The last part of its path or hub id, as its author wrote it: small letters would hide where words begin.

    What was fetched from the hub has a name of ours here, and its author's in the note beside it.
    """
    note = note_of(where)
    written = model if note is None else str(note)
    return written.rstrip("/").rpartition("/")[2].removesuffix(".safetensors")


def _name(model: str) -> str:
    """As the bot calls it too: by the path as it was given, since a link in it has a name of its own."""
    place = expanded(model)
    return name_of(str(place.absolute()) if place.exists() else model)


def _info(model: str, name: str, components: Components, family: Family, device: Device) -> ModelInfo:
    shipped = components.root == (ROOT / POSTCARD.path).resolve()
    steps, guidance, sampler = _default_settings(name, components.kind, family, components.index)
    return ModelInfo(
        name=_name(model),
        family=family.name,
        digest=digest(components.root, components.files),
        dtype=device.dtype_name,
        native=family.native,
        multiple=POSTCARD.multiple if shipped else family.multiple,
        steps=POSTCARD.steps if shipped else steps,
        guidance=POSTCARD.guidance if shipped else guidance,
        sampler=POSTCARD.sampler if shipped else sampler,
        samplers=samplers_for(family.scheduler),
        edits=tuple(edit.value for edit in family.edits),
        ignores=("cfg",) if family.guidance is Guidance.NONE else (),
    )


def _default_settings(
    name: str, kind: PipelineKind, family: Family, index: Mapping[str, object]
) -> tuple[int, float, str]:
    """Steps, guidance and sampler for who names none."""
    methods = few_step_methods(name)
    few_steps = bool(methods) or family.guidance == "none"
    scheduler = index.get("scheduler")
    asked = _OWN_SAMPLERS.get(str(scheduler[1]), "") if isinstance(scheduler, list) and len(scheduler) > 1 else ""
    asked = asked or ("lcm" if "lcm" in methods else "")
    sampler = asked if asked in SAMPLERS else kind.sampler
    if not few_steps:
        return kind.steps, kind.guidance, sampler
    return FEW_STEPS, kind.guidance if family.guidance == "input" else 1.0, sampler
