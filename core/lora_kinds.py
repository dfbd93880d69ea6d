"""Which kind of change the tensors of one layer make, how large the layer is that it is for, and of which rank it is.

Each kind that is drawn here is a product of two thin matrices, exactly: kohya's and peft's LoRA with and without
LyCORIS' middle (CP), LoHa, LoKr, GLoRA, and a whole difference, which is a product with one. Pure: sees shapes alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.lora_metadata import LoraRefused
from core.lora_tensors import Part

Shapes = Mapping[Part, tuple[int, ...]]


class ChangeKind(StrEnum):
    """As people call them."""

    LORA = "LoRA"
    LOHA = "LoHa"
    LOKR = "LoKr"
    GLORA = "GLoRA"
    DIFF = "full difference"
    BIAS = "difference of biases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Outputs, what is behind them in the layer's weight, and the rank of the product.

    `scaled_by`: the rank that alpha is divided by; 0 where alpha means nothing.
    """

    out: int
    into: tuple[int, ...]
    rank: int
    scaled_by: int = 0

    @property
    def numbers(self) -> int:
        """How many the two matrices have together."""
        return self.rank * (self.out + math.prod(self.into))


#: Of these parts one kind consists; any of `_EXTRAS` may stand beside them.
_PARTS: tuple[tuple[ChangeKind, frozenset[Part]], ...] = (
    (ChangeKind.LORA, frozenset({Part.DOWN, Part.UP, Part.MID})),
    (ChangeKind.LOHA, frozenset(part for part in Part if part.value.startswith("hada_"))),
    (ChangeKind.LOKR, frozenset(part for part in Part if part.value.startswith("lokr_"))),
    (ChangeKind.GLORA, frozenset({Part.GLORA_A1, Part.GLORA_A2, Part.GLORA_B1, Part.GLORA_B2})),
    (ChangeKind.DIFF, frozenset({Part.DIFF})),
)
_EXTRAS = frozenset({Part.ALPHA, Part.MAGNITUDE, Part.BIAS, Part.DIFF_B})
_MERGE = "Merge it into its model with the tool that made it, and use that checkpoint."
#: Parts of what is refused, with why.
NOT_DRAWN = {
    Part.OFT: f"holds OFT, which turns a model's layers instead of adding to them. {_MERGE}",
    Part.NORM: f"changes the model's norms, which is not done here. {_MERGE}",
    Part.IA3: f"holds IA3, which is not drawn here. {_MERGE}",
    Part.EMBEDDING: f"changes the text encoder's table of tokens, which is not done here. {_MERGE}",
    Part.SET_WEIGHT: f"brings whole layers in place of the model's. {_MERGE}",
}


def kind_of(layer: str, shapes: Shapes) -> ChangeKind:
    """Raises LoraRefused for what is not drawn, or not whole."""
    for part, sentence in NOT_DRAWN.items():
        if part in shapes:
            raise LoraRefused(sentence)
    if len(shapes.get(Part.DIFF, ())) == 1:  # no layer's weights are a row of numbers
        raise LoraRefused(NOT_DRAWN[Part.NORM])
    main = shapes.keys() - _EXTRAS
    if not main and {Part.DIFF_B, Part.BIAS} & shapes.keys():
        return ChangeKind.BIAS
    for kind, parts in _PARTS:
        if main and main <= parts:
            return kind
    names = ", ".join(sorted(part.value for part in main))
    raise LoraRefused(f"mixes kinds in one layer ({layer}: {names}). Save it again with its trainer.")


def size_of(layer: str, kind: ChangeKind, shapes: Shapes) -> Size:
    """Raises LoraRefused where a part is missing or the parts do not fit one another."""
    try:
        size = _MEASURES[kind](shapes)
    except KeyError as error:
        missing = getattr(error.args[0], "value", "a part")
        raise LoraRefused(f"is not whole: {layer} has no {missing}. Fetch it again.") from None
    except (IndexError, ValueError):
        raise LoraRefused(f"is damaged: the parts of {layer} do not fit one another. Fetch it again.") from None
    least = min(size.out, math.prod(size.into))
    return Size(out=size.out, into=size.into, rank=min(size.rank, least), scaled_by=size.scaled_by)


def _lora(shapes: Shapes) -> Size:
    down, up = shapes[Part.DOWN], shapes[Part.UP]
    inner, into = down[0], down[1:]
    if Part.MID in shapes:
        first, second, *kernel = shapes[Part.MID]
        _same(second, inner)
        inner, into = first, (down[1], *kernel)
    _same(math.prod(up[1:]), inner)
    # Zero ranks would be no numbers at all.
    _same(inner > 0 and math.prod(into) > 0, True)
    return Size(out=up[0], into=into, rank=inner if Part.MID in shapes else down[0], scaled_by=down[0])


def _loha(shapes: Shapes) -> Size:
    first = _hada(shapes[Part.HADA_W1_A], shapes[Part.HADA_W1_B], shapes.get(Part.HADA_T1))
    second = _hada(shapes[Part.HADA_W2_A], shapes[Part.HADA_W2_B], shapes.get(Part.HADA_T2))
    _same((first.out, first.into), (second.out, second.into))
    return Size(out=first.out, into=first.into, rank=first.rank * second.rank, scaled_by=shapes[Part.HADA_W1_B][0])


def _hada(wide: tuple[int, ...], thin: tuple[int, ...], middle: tuple[int, ...] | None) -> Size:
    """One of the two factors; with a middle the wide matrix lies the other way round."""
    if middle is None:
        _same(wide[1], thin[0])
        return Size(out=wide[0], into=thin[1:], rank=wide[1])
    _same(middle[:2], (wide[0], thin[0]))
    return Size(out=wide[1], into=(thin[1], *middle[2:]), rank=wide[0])


def _lokr(shapes: Shapes) -> Size:
    scaled_by = 0
    if Part.LOKR_W1 in shapes:
        small = shapes[Part.LOKR_W1][0], shapes[Part.LOKR_W1][1]
    else:
        wide, thin = shapes[Part.LOKR_W1_A], shapes[Part.LOKR_W1_B]
        _same(wide[1], thin[0])
        small, scaled_by = (wide[0], thin[1]), thin[0]
    if Part.LOKR_W2 in shapes:
        whole = shapes[Part.LOKR_W2]
        large = Size(out=whole[0], into=whole[1:], rank=min(whole[0], math.prod(whole[1:])))
    else:
        large = _hada(shapes[Part.LOKR_W2_A], shapes[Part.LOKR_W2_B], shapes.get(Part.LOKR_T2))
        scaled_by = shapes[Part.LOKR_W2_B][0]
    _same(len(large.into) > 0, True)
    into = (small[1] * large.into[0], *large.into[1:])
    # As it is computed: by the product of the small one with a unit matrix.
    rank = min(small) * large.rank
    return Size(out=small[0] * large.out, into=into, rank=rank, scaled_by=scaled_by)


def _glora(shapes: Shapes) -> Size:
    """Older ones have the two of each pair the other way round."""
    pairs = [(shapes[Part.GLORA_A1], shapes[Part.GLORA_A2]), (shapes[Part.GLORA_B1], shapes[Part.GLORA_B2])]
    if pairs[0][0][0] != math.prod(pairs[0][1][1:]):
        pairs = [(second, first) for first, second in pairs]
    (wide, thin), (up, down) = pairs
    _same(math.prod(wide[1:]), thin[0])
    _same(math.prod(up[1:]), down[0])
    _same((wide[0], math.prod(thin[1:])), (down[1], down[1]))
    # Behind a kernel the model's own weight cannot stand in the upper one of two thin matrices.
    rank = up[0] if math.prod(down[2:]) > 1 else thin[0] + down[0]
    return Size(out=up[0], into=down[1:], rank=rank, scaled_by=thin[0])


def _diff(shapes: Shapes) -> Size:
    whole = shapes[Part.DIFF]
    _same(len(whole) > 1, True)
    return Size(out=whole[0], into=whole[1:], rank=min(whole[0], math.prod(whole[1:])))


def _bias(shapes: Shapes) -> Size:
    [*_, out] = shapes.get(Part.DIFF_B) or shapes[Part.BIAS]
    return Size(out=out, into=(), rank=1)


def _same(one: object, other: object) -> None:
    if one != other:
        raise ValueError(one, other)


_MEASURES = {
    ChangeKind.LORA: _lora, ChangeKind.LOHA: _loha, ChangeKind.LOKR: _lokr, ChangeKind.GLORA: _glora,
    ChangeKind.DIFF: _diff, ChangeKind.BIAS: _bias,
}  # fmt: skip
