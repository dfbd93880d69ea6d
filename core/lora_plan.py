"""Judges a LoRA by its file's header: what it changes, where that belongs in a model, and why it can't be drawn.

One rule for the bot, which knows models by their configs, and for the worker, which has the model itself: every tensor
of the file is used or named. Pure: sees names, shapes and metadata, never a number.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from core import lora_tensors
from core.lora_kinds import NOT_DRAWN, ChangeKind, Size, kind_of, size_of
from core.lora_layers import Layers, Place, flat, index_of
from core.lora_metadata import ADAPTER_CONFIG, LoraRefused, Scales, scales_of
from core.lora_tensors import Part
from core.safetensors_header import Header

__all__ = [
    "LayerChange",
    "LoraPlan",
    "LoraRefused",
    "MisfitLora",
    "Networks",
    "PlacedChange",
    "plan_of",
    "wants_config",
]

#: A model's networks by their folders' names, each with its layers.
Networks = Mapping[str, Layers]
#: Numbers of the matrices of what is no plain LoRA: 2 GB in half precision. Those of a plain one are in its file.
MOST_NUMBERS = 1_000_000_000
_NAMED = 3  # layers in a sentence
#: How tables are called in which text encoders look up tokens and places; what looks up is no layer that multiplies.
_TABLES = ("token_embedding", "position_embedding", "embed_tokens", "_shared")
#: Types of numbers that are numbers as they stand; others need scales that a LoRA has no place for.
NUMBERS = frozenset({"F8_E4M3", "F8_E5M2", "F16", "BF16", "F32", "F64", "I8", "I16", "I32", "I64", "U8"})

#: First words of a file's names, and the networks that they may mean; the longer ones first.
_PREFIXES: Sequence[tuple[str, Sequence[str]]] = (
    ("text_encoders.clip_l.transformer.", ("text_encoder",)),
    ("text_encoders.clip_h.transformer.", ("text_encoder",)),
    ("text_encoders.clip_g.transformer.", ("text_encoder_2",)),
    ("text_encoders.t5xxl.transformer.", ("text_encoder_2",)),
    ("model.diffusion_model.", ("unet", "transformer")),
    ("diffusion_model.", ("unet", "transformer")),
    ("text_encoder_2.", ("text_encoder_2",)),
    ("text_encoder.", ("text_encoder",)),
    ("transformer.", ("transformer",)),
    ("unet.", ("unet",)),
    ("lora_transformer_", ("transformer",)),
    ("lora_unet_", ("unet", "transformer")),
    ("lora_te1_", ("text_encoder",)),
    ("lora_te2_", ("text_encoder_2",)),
    ("lora_te3_", ("text_encoder_2",)),
    ("lora_te_", ("text_encoder",)),
)
_ANY = ("unet", "transformer", "text_encoder", "text_encoder_2")
_PEFT = "base_model.model."
#: What libraries that wrap a network put before all its names.
_WRAPPERS = (_PEFT, "model.", "lycoris_")


class MisfitLora(LoraRefused):
    """It is whole and can be drawn, but not by this model; the cure is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChange:
    """What the file says of one layer, by the name that it has there: its tensors' names by part."""

    stem: str
    kind: ChangeKind
    size: Size
    parts: Mapping[Part, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedChange:
    """A change with where it belongs, and by how much its product is multiplied where no alpha tensor says it."""

    change: LayerChange
    network: str
    places: Sequence[Place]
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraPlan:
    """`placed` is empty where no networks were given. `notes`: what is left out on purpose, each a sentence's end."""

    changes: Sequence[LayerChange]
    placed: Sequence[PlacedChange] = ()
    notes: Sequence[str] = ()
    kinds: frozenset[ChangeKind] = field(default_factory=frozenset)


def wants_config(header: Header) -> bool:
    """Whether its writer keeps what belongs to it in another file, `ADAPTER_CONFIG`, beside it."""
    return any(name.startswith(_PEFT) for name in header.tensors)


def plan_of(header: Header, networks: Networks | None = None, beside: Mapping[str, Any] | None = None) -> LoraPlan:
    """`networks`: of the model that it is for, if that is known; `beside`: `adapter_config.json`, if there is one.

    Raises LoraRefused for what cannot be drawn as it was made, and MisfitLora for what another model could draw.
    """
    groups, notes = _groups(header)
    scales = scales_of(header.metadata, beside)
    changes = [_change(stem, parts, header) for stem, parts in groups.items()]
    if not changes:
        raise LoraRefused("changes no layer. Fetch it again.")
    more = sum(change.size.numbers for change in changes if change.kind is not ChangeKind.LORA)
    kinds = frozenset(change.kind for change in changes)
    if more > MOST_NUMBERS:
        names = " and ".join(sorted(kinds - {ChangeKind.LORA, ChangeKind.BIAS}))
        raise LoraRefused(
            f"is a {names} that would take {2 * more / 1e9:.1f} GB beside the model, of "
            f"{2 * MOST_NUMBERS / 1e9:g} GB at most. Merge it into its model with the tool that made it, and use that "
            "checkpoint."
        )
    if beside is not None:
        _check_ranks(changes, scales)
    if beside is None and not scales.says_strength and wants_config(header):
        notes.append("has no adapter_config.json beside it, so it is drawn as if its alpha were its rank")
    placed = _placed(changes, networks, scales) if networks is not None else ()
    return LoraPlan(changes=changes, placed=placed, notes=notes, kinds=kinds)


def _check_ranks(changes: Iterable[LayerChange], scales: Scales) -> None:
    """Raises LoraRefused where what lies beside the file was written for another one, as where names were changed."""
    for change in changes:
        if scales.ranks and change.kind is ChangeKind.LORA and change.size.scaled_by not in scales.ranks:
            raise LoraRefused(
                f"does not belong to the {ADAPTER_CONFIG} beside it, which has no rank of {change.size.scaled_by}. "
                "Put each LoRA of peft's into a folder of its own, with its config."
            )


def _groups(header: Header) -> tuple[dict[str, dict[Part, str]], list[str]]:
    """Tensors by the layer that they are for. Raises LoraRefused for those that nobody here knows."""
    groups: dict[str, dict[Part, str]] = {}
    strange, bundled = [], 0
    for name in header.tensors:
        if name.startswith(lora_tensors.BUNDLED):
            bundled += 1
        elif (found := lora_tensors.split(name)) is None:
            strange.append(name)
        elif found[1] in (parts := groups.setdefault(found[0], {})) and found[1] not in NOT_DRAWN:
            raise LoraRefused(f"holds more than one adapter ({parts[found[1]]}, {name}). Save them one by one.")
        else:
            parts[found[1]] = name
    # IA3's own tensor is called as plainly as any layer's.
    strange = [name for name in strange if Part.IA3 not in groups.get(name.removesuffix(".weight"), ())]
    if strange:
        raise LoraRefused(
            f"holds {_counted(len(strange), 'tensor')} that no LoRA known here has ({_few(strange)}). "
            "Convert it with its trainer to the layout of kohya, diffusers or peft."
        )
    notes = ["brings embeddings along, which are left out"] if bundled else []
    # Some converters leave them behind.
    if alone := [stem for stem, parts in groups.items() if parts.keys() == {Part.ALPHA}]:
        notes.append(f"says an alpha of {_counted(len(alone), 'layer')} that it does not change ({_few(alone)})")
        groups = {stem: parts for stem, parts in groups.items() if parts.keys() != {Part.ALPHA}}
    return groups, notes


def _change(stem: str, parts: Mapping[Part, str], header: Header) -> LayerChange:
    tensors = {part: header.tensors[name] for part, name in parts.items()}
    shapes = {part: tensor.shape for part, tensor in tensors.items()}
    kind = kind_of(stem, shapes)
    if flat(stem).endswith(_TABLES):
        raise LoraRefused(NOT_DRAWN[Part.EMBEDDING])
    size = size_of(stem, kind, shapes)
    if strange := {tensor.dtype for tensor in tensors.values()} - NUMBERS:
        raise LoraRefused(
            f"keeps its numbers as {min(strange)[:20]}, which is not read here. Save it in half precision."
        )
    if Part.MAGNITUDE in parts:
        magnitude, old = shapes[Part.MAGNITUDE], parts[Part.MAGNITUDE].endswith("dora_scale")
        if prod(magnitude) != size.out or (old and magnitude[0] != size.out):
            raise LoraRefused(
                f"is a DoRA that scales what goes into a layer ({stem}), which is not drawn here. "
                "Train it with wd_on_output, or merge it into its model."
            )
    if Part.ALPHA in parts and prod(shapes[Part.ALPHA]) != 1:
        raise LoraRefused(f"is damaged: the alpha of {stem} is not one number. Fetch it again.")
    for part in (Part.BIAS, Part.DIFF_B):
        if part in parts and prod(shapes[part]) != size.out:
            raise LoraRefused(f"is damaged: the bias of {stem} is as long as no side of it. Fetch it again.")
    return LayerChange(stem=stem, kind=kind, size=size, parts=parts)


# --- where it belongs -------------------------------------------------------------------------------------------------


def _placed(changes: Sequence[LayerChange], networks: Networks, scales: Scales) -> Sequence[PlacedChange]:
    """Raises MisfitLora."""
    known = {name: _Network(layers=layers, index=index_of(layers)) for name, layers in networks.items()}
    lost: list[LayerChange] = []
    placed: list[PlacedChange] = []
    for meant, members in _by_prefix(changes).items():
        among = [name for name in meant if name in known]
        # A file of one network alone does not say which; the first one where most of it fits.
        name = max(among, key=lambda one: known[one].hits(members)) if among else ""
        for inside, change in members:
            places = known[name].index.get(flat(inside), ()) if name else ()
            if not places:
                lost.append(change)
                continue
            if not known[name].takes(change, places):
                raise MisfitLora(_other_kind(change, places, networks[name]))
            factor = scales.factor(name, inside, change.size.scaled_by)
            placed.append(PlacedChange(change=change, network=name, places=places, factor=factor))
    if lost:
        names, belong = _few([change.stem for change in lost]), "belongs" if len(lost) == 1 else "belong"
        raise MisfitLora(
            f"does not fit this model: of its {_counted(len(changes), 'layer')} {len(lost)} {belong} to none of the "
            f"model's ({names})."
        )
    return placed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    """Its layers, and where to find them by a file's names."""

    layers: Layers
    index: Mapping[str, Sequence[Place]]

    def takes(self, change: LayerChange, places: Sequence[Place]) -> bool:
        """Whether the change is as large as what it is for."""
        size = change.size
        into = prod(size.into) if change.kind is ChangeKind.BIAS else prod(self.layers[places[0].layer][1:])
        return size.out == sum(place.count for place in places) and prod(size.into) == into

    def hits(self, members: Iterable[tuple[str, LayerChange]]) -> int:
        """How many of these belong here; twice as many where they fit as well."""
        found = [(change, self.index.get(flat(inside), ())) for inside, change in members]
        return sum(1 + self.takes(change, places) for change, places in found if places)


def _by_prefix(changes: Iterable[LayerChange]) -> Mapping[Sequence[str], list[tuple[str, LayerChange]]]:
    """Changes with the names inside their network, by the networks that their first words may mean."""
    found: dict[Sequence[str], list[tuple[str, LayerChange]]] = {}
    for change in changes:
        inside, meant = _without_prefix(change.stem)
        if meant is _ANY:
            inside, meant = _without_prefix(_bare(inside))
        found.setdefault(meant, []).append((_bare(inside), change))
    return found


def _without_prefix(name: str) -> tuple[str, Sequence[str]]:
    return next(((name.removeprefix(one), meant) for one, meant in _PREFIXES if name.startswith(one)), (name, _ANY))


def _bare(name: str) -> str:
    """Without what a library put before all names of a network that it wrapped."""
    return next((name.removeprefix(one) for one in _WRAPPERS if name.startswith(one)), name)


def _other_kind(change: LayerChange, places: Sequence[Place], layers: Layers) -> str:
    here = [sum(place.count for place in places), *layers[places[0].layer][1:]]
    there = [change.size.out, *change.size.into]
    return (
        f"does not fit this model: it was made for another kind, in which {places[0].layer} is "
        f"{_sides(there)} and not {_sides(here)}."
    )


def _sides(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape))


def _few(names: Sequence[str]) -> str:
    """Some names for a sentence, cut to what a line holds."""
    shown = ", ".join(name[:100] for name in names[:_NAMED])
    return f"{shown}, …" if len(names) > _NAMED else shown


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
