"""How strong a LoRA file says that its changes are, where it says so beside its tensors.

peft keeps that in `adapter_config.json` beside the file, diffusers in the file's own metadata. Both give patterns for
layers; they are read as the names that those libraries write, and never run. Pure; knows no tensors.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Beside a file of peft's it says what is in it.
ADAPTER_CONFIG = "adapter_config.json"
#: diffusers' own key in a file's metadata.
_INSIDE = "lora_adapter_metadata"
#: By how it begins: starts of training that change the model's own weights, which no file then brings along.
_CHANGED_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
#: Settings of peft by which a LoRA of the same tensors means something else, with what they are called.
_OTHER_MEANING = {
    "alora_invocation_tokens": "an activated LoRA", "arrow_config": "an Arrow LoRA", "kasa_config": "a KaSA LoRA",
    "layer_replication": "a LoRA for repeated layers", "use_bdlora": "a block-diagonal LoRA",
    "use_qalora": "a QALoRA",
}  # fmt: skip
_NO_NUMBER = "says in a way that cannot be read how strong its layers are. Save it again with its trainer."
#: Dots in a layer's name behind which a pattern may begin; no network has names so deep.
_MOST_WORDS = 32


class LoraRefused(ValueError):
    """A LoRA file that would not be drawn as it was made; the text is a sentence's end, with the cure: "holds …"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkScales:
    """Of one network: alpha, alphas of single layers, and whether the root of the rank divides it.

    `layers`: by pattern, which is the end of a layer's name, or all of it behind a `^`; with its place among the
    patterns, for of several that fit peft takes the first. `fixed`: one factor for every layer, where peft keeps it so.
    `ranks`: that layers may have; empty where that is not said.
    """

    alpha: float | None = None
    layers: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    by_root: bool = False
    fixed: float | None = None
    ranks: frozenset[float] = frozenset()

    def factor(self, layer: str, rank: int) -> float:
        """As `Scales.factor`."""
        if self.fixed is not None or not rank:
            return 1.0 if self.fixed is None else self.fixed
        alpha = float(rank) if self.alpha is None else self.alpha
        if self.layers:
            # Looked up, never joined nor searched: a file may have a hundred thousand layers, and as many patterns.
            words = layer.rsplit(".", _MOST_WORDS)
            names = (f"^{layer}", *(".".join(words[at:]) for at in range(len(words))))
            found = [self.layers[name] for name in names if name in self.layers]
            alpha = min(found)[1] if found else alpha
        return alpha / (rank**0.5 if self.by_root else rank)


_UNSAID = NetworkScales()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """By network; "" for all that are not named."""

    networks: Mapping[str, NetworkScales] = field(default_factory=dict)

    @property
    def says_strength(self) -> bool:
        """Whether anything in it tells how strong the changes are."""
        return any(one.alpha is not None or one.fixed is not None for one in self.networks.values())

    @property
    def ranks(self) -> frozenset[float]:
        """Those that layers may have; empty where that is not said."""
        return frozenset(rank for one in self.networks.values() for rank in one.ranks)

    def factor(self, network: str, layer: str, rank: int) -> float:
        """What a product of this rank is multiplied by; 1 where nothing was said. Rank 0: of what no alpha divides."""
        return self.networks.get(network, self.networks.get("", _UNSAID)).factor(layer, rank)


def scales_of(metadata: Mapping[str, str], beside: Mapping[str, Any] | None = None) -> Scales:
    """From a file's metadata, and from the `adapter_config.json` beside it if there is one. Raises LoraRefused."""
    if beside is not None and "peft_type" in beside:
        return Scales(networks={"": _of_config(beside)})
    if _INSIDE not in metadata:
        return Scales()
    try:
        told = json.loads(metadata[_INSIDE])
    except (ValueError, RecursionError):
        raise LoraRefused(_NO_NUMBER) from None
    if not isinstance(told, dict):
        raise LoraRefused(_NO_NUMBER)
    networks: dict[str, dict[str, Any]] = {}
    for key, value in told.items():
        # A pipeline puts the network's name before each of its settings, a network by itself nothing.
        network, dot, name = str(key).partition(".")
        networks.setdefault(network if dot else "", {})[name if dot else network] = value
    return Scales(networks={network: _of_config(config) for network, config in networks.items()})


def _of_config(config: Mapping[str, Any]) -> NetworkScales:
    """One network's, by what peft noted of it."""
    kind = str(config.get("peft_type") or "LORA").upper().rpartition(".")[2]
    if kind in ("LOHA", "LOKR"):
        if config.get("alpha_pattern") or config.get("rank_pattern"):
            raise LoraRefused(f"is a {kind} of peft whose layers differ in rank. Merge it into its model with peft.")
        return NetworkScales(fixed=_number(config.get("alpha")) / _number(config.get("r"), least=1))
    if kind != "LORA":
        raise LoraRefused(f"is peft's {kind[:40]}, which is not drawn here. Merge it into its model with peft.")
    return _of_lora(config)


def _of_lora(config: Mapping[str, Any]) -> NetworkScales:
    start = str(config.get("init_lora_weights", "")).lower()
    if start.startswith(_CHANGED_BASE):
        raise LoraRefused(f"was trained on changed weights ({start[:20]}). Convert it with peft to a plain LoRA.")
    for setting, name in _OTHER_MEANING.items():
        if config.get(setting):
            raise LoraRefused(f"is {name} of peft's, which is not drawn here. Merge it into its model with peft.")
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise LoraRefused(_NO_NUMBER)
    layers: dict[str, tuple[int, float]] = {}
    for place, (pattern, alpha) in enumerate(patterns.items()):
        layers.setdefault(_name(str(pattern)), (place, _number(alpha)))
    alpha = config.get("lora_alpha")
    others = config.get("rank_pattern") or {}
    ranks = [config["r"], *(others.values() if isinstance(others, dict) else ())] if "r" in config else []
    return NetworkScales(
        alpha=None if alpha is None else _number(alpha), layers=layers, by_root=bool(config.get("use_rslora")),
        ranks=frozenset(map(_number, ranks)),
    )  # fmt: skip


def _name(pattern: str) -> str:
    """The layer's name in a pattern that is nothing but one; behind a `^` it is all of it. Raises LoraRefused."""
    name = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
    if not name.replace("_", "").replace(".", "").replace("-", "").isalnum():
        raise LoraRefused("names layers by patterns, which are not read here. Save it again with the layers' names.")
    return f"^{name}" if pattern.startswith("^") else name


def _number(value: object, *, least: float = -math.inf) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.nan
    if not math.isfinite(number) or number < least:
        raise LoraRefused(_NO_NUMBER)
    return number
