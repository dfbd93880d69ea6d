"""Tiny networks with their forwards, and code for them without a compiler: traced graphs, kept in memory."""

from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel, UNet2DConditionModel
from torch import Tensor

from worker.compiling import IdleSignal, NetworkSpec, ShapeRequest, Traced, artifact_store, call_signature, trace
from worker.compiling.background_compiler import BackgroundCompiler, CompileFailed, ensure_artifact
from worker.compiling.compiled_forward import CompiledForward
from worker.compiling.shape_counts import ShapeCounts

_known: dict[tuple[str, int, str], list[Traced]] = {}


def trace_once(spec: NetworkSpec, bucket: int, shape: str) -> list[Traced]:
    """Graphs hold no weights, so that all tests may share them: tracing is what takes long here."""
    key = repr(spec), bucket, shape
    if key not in _known:
        _known[key] = trace(spec, bucket, shape)
    return _known[key]


def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return (
        UNet2DConditionModel(
            sample_size=8, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4, cross_attention_dim=12,
            attention_head_dim=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        )
        .eval().requires_grad_(False).to(memory_format=torch.channels_last)
    )  # fmt: skip


def flux() -> FluxTransformer2DModel:
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        in_channels=8, num_layers=2, num_single_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=12, pooled_projection_dim=10, axes_dims_rope=(2, 2, 4),
    ).eval().requires_grad_(False)  # fmt: skip


def unet_call(rows: int, side: int = 8) -> tuple[tuple[Any, ...], dict[str, Any]]:
    torch.manual_seed(rows)
    return (torch.randn(rows, 4, side, side), torch.full((rows,), 400.0), torch.randn(rows, 7, 12)), {
        "return_dict": False
    }


def flux_call(rows: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    torch.manual_seed(rows)
    return (), {
        "hidden_states": torch.randn(rows, 16, 8), "encoder_hidden_states": torch.randn(rows, 5, 12),
        "pooled_projections": torch.randn(rows, 10), "timestep": torch.full((rows,), 0.4), "img_ids": torch.rand(16, 3),
        "txt_ids": torch.zeros(5, 3), "return_dict": False,
    }  # fmt: skip


class Clock:
    """Stands where it was put."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class TracedNetwork:
    """A model with its forward, and code for it that counts its own calls."""

    def __init__(self, module: Any, call: Any, *, joined: bool = False, part: str = "") -> None:
        self.module, self.call, self.clock = module, call, Clock()
        self.spec = NetworkSpec.of(module, part, joined=joined)
        self.served = 0
        self.forward = CompiledForward(module.get_submodule(part), ShapeCounts(), clock=self.clock)

    def offer(self, bucket: int, *, spoil: bool = False) -> None:
        """Traced graphs in the place of compiled code: the same signature, no compiler."""
        args, kwargs = self.call(bucket)
        request = ShapeRequest(bucket, call_signature.signature_of(args, kwargs).shape)

        def code(graph: Any) -> Any:
            def run(*given: Tensor) -> Any:
                self.served += 1
                return [out + 1 for out in graph(*given)] if spoil else graph(*given)

            return run

        self.forward.offer(
            request, [(one.signature, code(one.graph)) for one in trace_once(self.spec, bucket, request.shape)]
        )

    def adopted(self, *sizes: int) -> "TracedNetwork":
        """With code for these buckets in use."""
        for bucket in sizes:
            self.offer(bucket)
            assert self.forward.adopt()
        self.served = 0
        return self

    def answer(self, rows: int) -> Tensor:
        args, kwargs = self.call(rows)
        return self.module(*args, **kwargs)[0]

    def expected(self, rows: int) -> Tensor:
        """As the model answers by itself."""
        args, kwargs = self.call(rows)
        out: Tensor = self.forward._eager(*args, **kwargs)[0]
        return out


class FakeCompiler:
    """A compiler for tests: graphs in memory, an empty file on disk."""

    def __init__(self, fail: bool = False) -> None:
        self.made: list[int] = []
        self.fail = fail
        self.code: dict[str, Any] = {}

    def make(self, spec: NetworkSpec, request: ShapeRequest, folder: Path, idle_signal: IdleSignal) -> None:
        self.made.append(request.bucket)
        if self.fail:
            raise CompileFailed("no such instruction")
        artifact_store.save(folder, trace_once(spec, request.bucket, request.shape), self._write)

    def _write(self, traced: Any, path: Path) -> None:
        name = str(len(self.code))
        self.code[name] = traced.graph
        path.write_text(name)

    def read(self, path: Path) -> Any:
        return self.code[path.read_text()]


def serve_next(compiler: BackgroundCompiler) -> bool:
    """Compiles for the first shape that has no code yet, as its thread does; False when there is none."""
    found = compiler.next_request()
    if found is None:
        return False
    number, request, spec, folder = found
    error = ensure_artifact(compiler.make, spec, request, folder, compiler.idle_signal)
    compiler.offer_result(number, request, folder, error)
    return True
