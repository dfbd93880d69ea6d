"""The parts of a denoiser that are compiled on their own, and how compiled code is given a part's own weights.

Compiled code is a function of weights and inputs, so that it serves every checkpoint of the same build, and every one
of a transformer's equal blocks; what the model's own Python may do (LoRAs, adapters) stays untouched beside it. Knows
nothing of how code is compiled or where it is kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.compiling import call_signature, torch_internals
from worker.diffusers_internals import repeated_blocks

#: Compiled code, or a graph that stands for it: weights and inputs in the order of `Signature.inputs`.
Code = Callable[..., Sequence[Tensor]]

#: Projections that read the same input, joined into one product in compiled code only: the model keeps its own.
JOINED: Mapping[str, tuple[str, ...]] = {
    "to_qkv": ("to_q", "to_k", "to_v"),
    "to_kv": ("to_k", "to_v"),
    "to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a piece of code takes and gives. `inputs`: the name of a weight, or the place of a tensor of the call."""

    region: str
    shape: str
    inputs: tuple[str | int, ...]
    single: bool  # it gives one tensor, not a tuple

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"region": self.region, "shape": self.shape, "inputs": list(self.inputs), "single": self.single}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Signature":
        """What `to_dict` gave. Raises KeyError or TypeError."""
        return cls(region=data["region"], shape=data["shape"], inputs=tuple(data["inputs"]), single=data["single"])


#: What one bucket of one shape needs: code for each region.
CompiledArtifact = Sequence[tuple[Signature, Code]]


def regions_of(module: nn.Module) -> dict[str, list[nn.Module]]:
    """A UNet is one region; a transformer's are its repeated blocks, by the name of their class."""
    names = [] if "UNet" in type(module).__name__ else repeated_blocks(module)
    blocks = {name: [part for part in module.modules() if type(part).__name__ == name] for name in names}
    found = {name: parts for name, parts in blocks.items() if parts}
    return found or {"": [module]}


class WeightLookup:
    """A denoiser's weights by the names that they had at load: LoRAs that come later wrap its layers, but keep them.

    It holds none of them itself, but where each is kept: a model that goes elsewhere takes its weights along.
    """

    def __init__(self, module: nn.Module) -> None:
        self._prefixes = {id(part): name for name, part in module.named_modules()}
        self._locations = dict(_locations(module))
        self._joined: dict[str, Tensor] = {}

    def of(self, part: nn.Module, name: str) -> Tensor:
        """The weight of that name below `part`. Raises KeyError."""
        prefix = self._prefixes[id(part)]
        whole = f"{prefix}.{name}" if prefix else name
        return self._own(whole) if whole in self._locations else self._join(whole)

    def addresses(self) -> tuple[int, ...]:
        """Where each of them lies: another answer means that some have moved."""
        # Asked before each forward, of some two thousand: by `map`, in half the time of a generator.
        return tuple(map(Tensor.data_ptr, [owner[name] for owner, name in self._locations.values()]))

    def drop_joined(self) -> None:
        """Frees the joined copies."""
        self._joined.clear()

    def _own(self, whole: str) -> Tensor:
        owner, name = self._locations[whole]
        return owner[name]

    def _join(self, whole: str) -> Tensor:
        if whole not in self._joined:
            *path, layer, kind = whole.split(".")
            names = [".".join((*path, member, kind)) for member in JOINED[layer]]
            self._joined[whole] = torch.cat([self._own(name).detach() for name in names])
        return self._joined[whole]


def _locations(module: nn.Module) -> Iterator[tuple[str, tuple[Mapping[str, Tensor], str]]]:
    """Each weight's and buffer's full name, with the dictionary of its layer where it is found, and its name there."""
    for path, part in module.named_modules():
        for owner in torch_internals.weight_dicts(part):
            for name, weight in owner.items():
                whole = f"{path}.{name}".lstrip(".").replace(".base_layer.", ".")
                if weight is not None and ".lora_" not in whole:
                    yield whole, (owner, name)


class BoundCode:
    """Code with the weights of one part of the model."""

    def __init__(self, signature: Signature, code: Code, part: nn.Module, weights: WeightLookup) -> None:
        self._code, self._single = code, signature.single
        self._inputs = [weights.of(part, one) if isinstance(one, str) else one for one in signature.inputs]

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        """As the part itself would answer."""
        given = [tensors[one] if isinstance(one, int) else one for one in self._inputs]
        out = self._code(*given)
        return out[0] if self._single else tuple(out)


class Region:
    """Stands in a part's place: answers by the code that is active, or as the part would."""

    def __init__(self, part: nn.Module, active: "ActiveCode") -> None:
        self._plain, self._key, self._active = part.forward, id(part), active
        part.forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        table = self._active.table
        if table is None:
            return self._plain(*args, **kwargs)
        call = call_signature.signature_of(args, kwargs, rows=False)
        bound = table.get((self._key, call.shape))
        return bound(call.tensors) if bound is not None else self._plain(*args, **kwargs)


class ActiveCode:
    """The code that the regions follow at this moment, by part and shape; None: all as they are."""

    def __init__(self) -> None:
        self.table: Mapping[tuple[int, str], BoundCode] | None = None


def bind(artifact: CompiledArtifact, module: nn.Module, weights: WeightLookup) -> dict[tuple[int, str], BoundCode]:
    """Each part of the model with its code. Raises KeyError when a weight is not there."""
    parts = regions_of(module)
    return {
        (id(part), signature.shape): BoundCode(signature, code, part, weights)
        for signature, code in artifact
        for part in parts[signature.region]
    }
