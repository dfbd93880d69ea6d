"""Names in a checkpoint in diffusers' folder format: its parts, a network's weights, and in which precision they are.

Pure: is given names, opens nothing. Diffusers and transformers open plain names alone unless they are told a variant,
and take only one variant for a whole pipeline; so who fetches, checks or opens such a folder asks here.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Names the pipeline and its components.
INDEX = "model_index.json"
#: Components that Darkroom draws without.
UNUSED = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
#: Variants that can be opened, the empty one for plain names. Others (ema, fp8, …) are other weights, not a precision.
OPENED = ("", "fp16", "bf16", "fp32")

_STEMS = ("diffusion_pytorch_model", "model")  # diffusers', transformers'
#: Where libraries look for the index of shards when they are told no variant.
PLAIN_INDEXES = frozenset(f"{stem}.safetensors.index.json" for stem in _STEMS)

_STEM = f"(?P<stem>{'|'.join(_STEMS)})"
#: Older libraries wrote the variant behind the shard, and before or inside the index's own ending.
_FILE = re.compile(
    _STEM + r"(?:\.(?P<variant>\w+))?(?:-(?P<shard>\d{5})-of-(?P<shards>\d{5}))?(?:\.(?P<late>\w+))?\.safetensors"
)
_INDEX_FILE = re.compile(
    _STEM + r"(?:\.(?P<variant>\w+))?\.safetensors(?:\.(?P<mid>\w+))?\.index(?:\.(?P<late>\w+))?\.json"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A network's weights in one precision: one file, or shards with the index that says which tensor is in which."""

    stem: str
    variant: str
    files: tuple[str, ...]
    index: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All its files."""
        return (*self.files, self.index) if self.index else self.files

    @property
    def plain(self) -> Mapping[str, str]:
        """Its files by the names under which libraries look for weights when they are told no variant."""
        if not self.index:
            return {f"{self.stem}.safetensors": self.files[0]}
        # Shards keep their names: the index holds those.
        return {f"{self.stem}.safetensors.index.json": self.index, **{name: name for name in self.files}}


def components_of(index: Mapping[str, Any]) -> list[str]:
    """The folders that a model needs, by its index: without what is left out and what nobody draws with."""
    named = [name for name, library in index.items() if isinstance(library, list) and library[:1] != [None]]
    return [name for name in named if not name.startswith("_") and name not in UNUSED]


def lacks(index: Mapping[str, Any], names: Collection[str]) -> str:
    """The first component that is not there, or not with whole weights, by the names of all files; else empty."""
    for component in components_of(index):
        inside = [name.removeprefix(f"{component}/") for name in names if name.startswith(f"{component}/")]
        weights = any(name.endswith(".safetensors") for name in inside)
        # Shards of any name count where the plain index is there to lead to them.
        whole = chosen(inside) or (weights and not PLAIN_INDEXES.isdisjoint(inside))
        if not inside or ("config.json" in inside and not whole):
            return component
    return ""


def is_weights(name: str) -> bool:
    """Whether libraries may take a file of this name for a network's weights, or for the index of them."""
    return bool(_FILE.fullmatch(name) or _INDEX_FILE.fullmatch(name))


def chosen(names: Iterable[str], order: Collection[str] = OPENED) -> list[Weights]:
    """Of the weights in a component's folder those of the first variant in `order` that is whole, for each stem."""
    found = _whole([*names])
    first: dict[str, Weights] = {}
    for variant in order:
        for one in found:
            if one.variant == variant:
                first.setdefault(one.stem, one)
    return [*first.values()]


def plain(names: Collection[str]) -> dict[str, str]:
    """A component's files by the names that libraries look for; as they are where no whole weights are known."""
    best = chosen(names)
    if not best:
        return {name: name for name in names}
    kept = {name: name for name in names if not is_weights(name)}
    return kept | {name: real for weights in best for name, real in weights.plain.items()}


def _whole(names: Collection[str]) -> list[Weights]:
    """All weights whose files are there, as far as names tell; one file before shards."""
    indexes: dict[tuple[str, str], str] = {}
    singles: list[Weights] = []
    shards: dict[tuple[str, str, str], list[str]] = {}
    for name in sorted(names):
        if index := _INDEX_FILE.fullmatch(name):
            indexes[index["stem"], index["variant"] or index["mid"] or index["late"] or ""] = name
        elif file := _FILE.fullmatch(name):
            stem, variant = file["stem"], file["variant"] or file["late"] or ""
            if file["shards"]:
                shards.setdefault((stem, variant, file["shards"]), []).append(name)
            else:
                singles.append(Weights(stem=stem, variant=variant, files=(name,)))
    return singles + [
        Weights(stem=stem, variant=variant, files=tuple(files), index=indexes[stem, variant])
        for (stem, variant, count), files in shards.items()
        if (stem, variant) in indexes and len(files) == int(count)
    ]
