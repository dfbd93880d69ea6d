"""What a forward is called with, as text: the shapes, types and constants of its arguments, without their values.

Two calls with the same text can be served by the same compiled code. Knows nothing of models or of compiling.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

#: Arguments that have no batch axis, in every model of diffusers that takes them.
UNBATCHED = frozenset({"img_ids", "txt_ids"})

#: From (dimensions, dtype, has a batch axis) to a tensor; the batch axis is not among the dimensions.
Make = Callable[[tuple[int, ...], torch.dtype, bool], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: its text, its tensors in the text's order, which of them have a batch axis, and how long that is."""

    shape: str
    tensors: tuple[Tensor, ...]
    batched: tuple[bool, ...]
    rows: int

    def part(self, start: int, rows: int, bucket: int) -> list[Tensor]:
        """The tensors of `rows` rows from `start`; the last row is repeated until there are `bucket`.

        Whatever lay behind them, they are as compact as those that code was compiled for.
        """
        return [
            (_padded(tensor[start : start + rows], bucket) if batched else tensor).contiguous()
            for tensor, batched in zip(self.tensors, self.batched, strict=True)
        ]


def signature_of(args: Sequence[Any], kwargs: Mapping[str, Any], *, rows: bool = True) -> Call:
    """The call with these arguments. Without `rows` no axis is the batch's. Raises TypeError for what has no text."""
    count = _rows((*args, *kwargs.values())) if rows else 0
    tensors: list[Tensor] = []
    batched: list[bool] = []

    def tell(value: Any, name: str) -> Any:
        if isinstance(value, Tensor):
            mine = bool(count) and value.ndim > 0 and value.shape[0] == count and name not in UNBATCHED
            tensors.append(value)
            batched.append(mine)
            return {"t": list(value.shape[1:] if mine else value.shape), "d": _name(value.dtype), "b": mine}
        if isinstance(value, Mapping):
            return {"m": {str(key): tell(inner, str(key)) for key, inner in value.items()}}
        if isinstance(value, list | tuple):
            return {"l" if isinstance(value, list) else "u": [tell(inner, name) for inner in value]}
        if value is None or isinstance(value, bool | int | float | str):
            return {"c": value}
        raise TypeError(f"A {type(value).__name__} among the arguments has no text.")

    told = [[tell(value, "") for value in args], {key: tell(value, key) for key, value in kwargs.items()}]
    return Call(shape=json.dumps(told), tensors=tuple(tensors), batched=tuple(batched), rows=count)


def arguments(shape: str, make: Make) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of that text, with tensors that `make` makes, asked for in the text's order."""

    def build(told: Mapping[str, Any]) -> Any:
        kind, value = next(iter(told.items()))
        if kind == "t":
            return make(tuple(value), getattr(torch, told["d"]), told["b"])
        if kind == "m":
            return {key: build(inner) for key, inner in value.items()}
        if kind in "lu":
            inner = [build(one) for one in value]
            return inner if kind == "l" else tuple(inner)
        return value

    args, kwargs = json.loads(shape)
    return [build(told) for told in args], {key: build(told) for key, told in kwargs.items()}


def tensors(shape: str, make: Make) -> list[Tensor]:
    """Only the tensors of `arguments`."""
    made: list[Tensor] = []

    def keep(dims: tuple[int, ...], dtype: torch.dtype, batched: bool) -> Tensor:
        made.append(make(dims, dtype, batched))
        return made[-1]

    arguments(shape, keep)
    return made


def with_tensors(shape: str, given: Sequence[Tensor]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of that text that hold these tensors."""
    following = iter(given)
    return arguments(shape, lambda dims, dtype, batched: next(following))


def _rows(values: Sequence[Any]) -> int:
    """The batch axis is as long as the first tensor's first one."""
    first = next((value for value in values if isinstance(value, Tensor) and value.ndim), None)
    return len(first) if first is not None else 0


def _padded(tensor: Tensor, bucket: int) -> Tensor:
    missing = bucket - len(tensor)
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])]) if missing else tensor


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
