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
_NO_NUMBER = "says in a way that cannot be read how strong its layers are. Save it again with its trainer."


class LoraRefused(ValueError):
    """A LoRA file that would not be drawn as it was made; the text is a sentence's end, with the cure: "holds …"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """By network ("" for all): alpha, alphas of single layers, and whether the root of the rank divides it.

    `fixed`: one factor for every layer, where peft keeps it so.
    """

    alpha: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    by_root: frozenset[str] = frozenset()
    fixed: float | None = None

    def factor(self, network: str, layer: str, rank: int) -> float:
        """What a product of this rank is multiplied by; 1 where nothing was said."""
        if self.fixed is not None:
            return self.fixed
        special = {**self.layers.get("", {}), **self.layers.get(network, {})}
        words, alpha = layer.split("."), self.alpha.get(network, self.alpha.get(""))
        if special:
            names = (".".join(words[at:]) for at in range(len(words)))
            alpha = next((special[name] for name in names if name in special), alpha)
        alpha = rank if alpha is None else alpha
        return alpha / (rank**0.5 if self.by_root & {"", network} else rank)


def scales_of(metadata: Mapping[str, str], beside: Mapping[str, Any] | None = None) -> Scales:
    """From a file's metadata, and from the `adapter_config.json` beside it if there is one. Raises LoraRefused."""
    if beside is not None and "peft_type" in beside:
        return _of_config(beside)
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
        network, _, name = str(key).partition(".")
        networks.setdefault(network, {})[name] = value
    found = {network: _of_lora(config) for network, config in networks.items()}
    return Scales(
        alpha={network: alpha for network, (alpha, _, _) in found.items() if alpha is not None},
        layers={network: layers for network, (_, layers, _) in found.items()},
        by_root=frozenset(network for network, (*_, by_root) in found.items() if by_root),
    )


def _of_config(config: Mapping[str, Any]) -> Scales:
    kind = str(config["peft_type"]).upper().rpartition(".")[2]
    if kind in ("LOHA", "LOKR"):
        if config.get("alpha_pattern") or config.get("rank_pattern"):
            raise LoraRefused(f"is a {kind} of peft whose layers differ in rank. Merge it into its model with peft.")
        return Scales(fixed=_number(config.get("alpha")) / _number(config.get("r"), least=1))
    if kind != "LORA":
        raise LoraRefused(f"is peft's {kind[:40]}, which is not drawn here. Merge it into its model with peft.")
    alpha, layers, by_root = _of_lora(config)
    return Scales(
        alpha={} if alpha is None else {"": alpha}, layers={"": layers}, by_root=frozenset({""} if by_root else ())
    )


def _of_lora(config: Mapping[str, Any]) -> tuple[float | None, Mapping[str, float], bool]:
    start = str(config.get("init_lora_weights", "")).lower()
    if start.startswith(_CHANGED_BASE):
        raise LoraRefused(f"was trained on changed weights ({start[:20]}). Convert it with peft to a plain LoRA.")
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise LoraRefused(_NO_NUMBER)
    layers = {_name(str(pattern)): _number(alpha) for pattern, alpha in patterns.items()}
    alpha = config.get("lora_alpha")
    return None if alpha is None else _number(alpha), layers, bool(config.get("use_rslora"))


def _name(pattern: str) -> str:
    """The layer's name in a pattern that is nothing but one. Raises LoraRefused."""
    name = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
    if not name.replace("_", "").replace(".", "").replace("-", "").isalnum():
        raise LoraRefused("names layers by patterns, which are not read here. Save it again with the layers' names.")
    return name


def _number(value: object, *, least: float = -math.inf) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.nan
    if not math.isfinite(number) or number < least:
        raise LoraRefused(_NO_NUMBER)
    return number
