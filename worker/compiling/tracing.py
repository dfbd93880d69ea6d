"""Traces a denoiser's regions into graphs for one shape, on tensors that have no memory and no values.

So a process of its own can compile for a model without holding it. Knows nothing of files or of serving.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from worker.compiling import call_signature, torch_internals
from worker.compiling.regions import Signature, regions_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """How the denoiser is built: a class of diffusers, its config, and how its weights lie in memory."""

    kind: str
    config: Mapping[str, Any]
    dtype: str
    device: str
    channels_last: bool
    others: Mapping[str, str] = field(default_factory=dict)  # weights that have a type of their own
    part: str = ""  # only this module of it
    joined: bool = False  # projections that read the same input become one product

    @classmethod
    def of(cls, module: nn.Module, part: str = "", *, joined: bool = False) -> "NetworkSpec":
        """Of a loaded model of diffusers, or of a part of it."""
        weights = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        types = {name: str(weight.dtype).removeprefix("torch.") for name, weight in weights.items()}
        usual = Counter(types.values()).most_common(1)[0][0]
        config: Any = module.config
        return cls(
            kind=type(module).__name__,
            config={key: value for key, value in dict(config).items() if not key.startswith("_")},
            dtype=usual, device=str(next(module.parameters()).device),
            channels_last=any(_lies_last(weight) for weight in weights.values()),
            others={name: kind for name, kind in types.items() if kind != usual}, part=part, joined=joined,
        )  # fmt: skip

    def fingerprint(self) -> str:
        """Names the build: all that decides the code but the shape, libraries and the device's kind among it."""
        device = torch.device(self.device)
        cuda: Any = torch.cuda
        kind = cuda.get_device_name(device) if device.type == "cuda" else device.type
        told = json.dumps([asdict(self), torch.__version__, *_libraries(), kind], sort_keys=True, default=str)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


@cache
def _libraries() -> tuple[str, ...]:
    """A newer version of these may draw another graph for the same config."""
    return tuple(version(name) for name in ("diffusers", "transformers"))


def _lies_last(weight: Tensor) -> bool:
    """In channels-last format, where that can be told: a 1×1 kernel lies the same way in either."""
    tells = weight.ndim == 4 and weight.shape[1] > 1 and weight.shape[2] * weight.shape[3] > 1
    return tells and weight.is_contiguous(memory_format=torch.channels_last)


class _FlatRegion(nn.Module):
    """A region that takes its tensors in the order of the shape's text and gives a tuple."""

    def __init__(self, part: nn.Module, shape: str) -> None:
        super().__init__()
        self.part, self._shape = part, shape

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        args, kwargs = call_signature.with_tensors(self._shape, tensors)
        out = self.part(*args, **kwargs)
        return (out,) if isinstance(out, Tensor) else tuple(out)


@dataclass(frozen=True, slots=True)
class Traced:
    """A region's graph; `examples` are its inputs without values."""

    signature: Signature
    graph: torch.fx.GraphModule
    examples: tuple[Tensor, ...]


def trace(spec: NetworkSpec, bucket: int, shape: str) -> list[Traced]:
    """The graphs of all regions for calls of that shape with `bucket` rows. Raises whatever the model's code does."""
    with _weightless(spec) as (module, device), torch.no_grad():
        made = {region: (parts[0], *_arguments(shape, bucket, device)) for region, parts in regions_of(module).items()}
        if "" not in made:
            made = _recorded_calls(module, shape, bucket, device)
        return [_export(region, *what) for region, what in made.items()]


@contextmanager
def _weightless(spec: NetworkSpec) -> Iterator[tuple[nn.Module, torch.device]]:
    """The model on tensors that only know their shape, type, layout and device."""
    import diffusers

    kind = getattr(diffusers, spec.kind)
    with torch.device("meta"), torch.no_grad():
        module = kind.from_config(dict(spec.config)).eval().requires_grad_(False)
        if spec.joined and hasattr(module, "fuse_qkv_projections"):
            module.fuse_qkv_projections()
    device = torch.device(spec.device)
    with torch_internals.weightless():
        for path, part in module.named_modules():
            for name, weight in list(part.named_parameters(recurse=False)):
                made = _like(weight, f"{path}.{name}", spec, device)
                setattr(part, name, nn.Parameter(made, requires_grad=False))
            for name, buffer in list(part.named_buffers(recurse=False)):
                setattr(part, name, _like(buffer, f"{path}.{name}", spec, device))
        yield module.get_submodule(spec.part), device


def _like(tensor: Tensor, name: str, spec: NetworkSpec, device: torch.device) -> Tensor:
    last = spec.channels_last and tensor.ndim == 4
    layout = torch.channels_last if last else torch.contiguous_format
    dtype = getattr(torch, spec.others.get(name.lstrip("."), spec.dtype)) if tensor.is_floating_point() else None
    return torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device=device, memory_format=layout)


def _arguments(shape: str, bucket: int, device: torch.device) -> tuple[list[Any], dict[str, Any]]:
    def make(dims: tuple[int, ...], dtype: torch.dtype, batched: bool) -> Tensor:
        return torch.empty((bucket, *dims) if batched else dims, dtype=dtype, device=device)

    return call_signature.arguments(shape, make)


def _recorded_calls(
    module: nn.Module, shape: str, bucket: int, device: torch.device
) -> dict[str, tuple[nn.Module, list[Any], dict[str, Any]]]:
    """What the first block of each kind is called with while the whole model runs."""
    seen: dict[str, tuple[nn.Module, list[Any], dict[str, Any]]] = {}

    def watch(region: str, part: nn.Module) -> Any:
        def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen.setdefault(region, (part, list(args), dict(kwargs)))

        return part.register_forward_pre_hook(look, with_kwargs=True)

    hooks = [watch(region, parts[0]) for region, parts in regions_of(module).items()]
    args, kwargs = _arguments(shape, bucket, device)
    module(*args, **kwargs)
    for hook in hooks:
        hook.remove()
    return seen


def _export(region: str, part: nn.Module, args: list[Any], kwargs: dict[str, Any]) -> Traced:
    call = call_signature.signature_of(args, kwargs, rows=False)
    single = isinstance(part(*args, **kwargs), Tensor)
    program = torch.export.export(_FlatRegion(part, call.shape), tuple(call.tensors), strict=False)
    places = iter(range(len(call.tensors)))
    inputs: list[str | int] = []
    graph = program.graph_module.graph
    holders = [node for node in graph.nodes if node.op == "placeholder"]
    for spec, node in zip(program.graph_signature.input_specs, holders, strict=True):
        if spec.kind.name not in {"PARAMETER", "BUFFER", "USER_INPUT"}:
            raise TypeError(f"The graph of {type(part).__name__} takes a {spec.kind.name.lower()}.")
        own = next(places) if spec.kind.name == "USER_INPUT" else str(spec.target).removeprefix("part.")
        if node.users:
            inputs.append(own)
        else:  # such as the projections that are joined
            graph.erase_node(node)
    program.graph_module.recompile()
    examples = tuple(node.meta["val"] for node in graph.nodes if node.op == "placeholder")
    signature = Signature(region=region, shape=call.shape, inputs=tuple(inputs), single=single)
    return Traced(signature, program.graph_module, examples)
