"""What a request needs of its model, and one sentence where the model lacks it. Pure: knows no queue and no person.

What a model can do is what its worker said of it. Before one has spoken it is what its family can, and what the
companions can that the catalogue names for it.
"""

from collections.abc import Iterable, Mapping

from core.catalogue import Edit, Model
from core.job import Kind, Request, Role
from core.prompt_weights import is_weighted

#: What the engine can do with every UNet of Stable Diffusion's families.
_UNET = frozenset({
    Edit.VARIATION, Edit.INPAINT, Edit.OUTPAINT, Edit.TILE, Edit.REFINE, Edit.LORA, Edit.NEGATIVE, Edit.WEIGHTS,
    Edit.STOP, Edit.CHAOS, Edit.PREVIEW,
})  # fmt: skip
#: A transformer has no edges to join, and one that is distilled no second forward for what should not be there.
_FLUX = frozenset({
    Edit.VARIATION, Edit.INPAINT, Edit.OUTPAINT, Edit.REFINE, Edit.LORA, Edit.STOP, Edit.CHAOS, Edit.PREVIEW,
})  # fmt: skip
_BY_FAMILY: Mapping[str, frozenset[Edit]] = {
    **dict.fromkeys(("sd", "sd1", "sd2", "sdxl"), _UNET),
    "flux": _FLUX,
    "any": frozenset({Edit.PREVIEW}),
}
_ROLES = {Role.PROMPT: Edit.IMAGE_PROMPT, Role.STYLE: Edit.STYLE, Role.CHARACTER: Edit.CHARACTER}
#: What cannot be done, and what would do, for each edit; `{model}` is the model's name.
_SENTENCES: Mapping[Edit, tuple[str, str]] = {
    Edit.VARIATION: ("{model} cannot start from a picture", "🔄 makes new ones from the words"),
    Edit.INPAINT: ("{model} cannot change a part of a picture", "Ask for a new one with other words"),
    Edit.OUTPAINT: ("{model} cannot draw around a picture", "`--ar` asks for a wider one from the start"),
    Edit.TILE: ("{model} cannot make the edges meet", "Leave out `--tile`"),
    Edit.IMAGE_PROMPT: ("{model} cannot look at a picture", "Describe it in words"),
    Edit.STYLE: ("{model} cannot take a style from a picture", "Describe the style in words"),
    Edit.CHARACTER: ("{model} cannot take a character from a picture", "Describe the character in words"),
    Edit.UPSCALE: ("{model} has no upscaler beside it", "U posts the picture as it is"),
    Edit.REFINE: ("{model} cannot draw on a larger copy of a picture", "The subtle upscale may do"),
    Edit.DESCRIBE: (
        "{model} has no network beside it that describes pictures",
        "The owner can name a classifier for it",
    ),
    Edit.LORA: ("{model} takes no LoRA", "Leave out `--lora`"),
    Edit.NEGATIVE: ("{model} knows no words for what should not be there", "Leave out `--no`"),
    Edit.WEIGHTS: ("{model} cannot weigh parts of a prompt", "Leave out the numbers behind the colons"),
    Edit.STOP: ("{model} cannot stop early", "Leave out `--stop`"),
    Edit.CHAOS: ("{model} cannot spread the four apart", "Leave out `--chaos`"),
    Edit.PREVIEW: ("{model} shows no previews", "The finished picture comes all the same"),
}


def abilities(model: Model) -> frozenset[Edit]:
    """What the model can do, as far as is known."""
    if model.edits:
        return frozenset(edit for edit in Edit if edit.value in model.edits)
    found = set(_BY_FAMILY.get(model.family, _BY_FAMILY["any"]))
    if model.adapter and Edit.TILE in found:  # adapters are read for UNets, and those can tile
        found |= {Edit.IMAGE_PROMPT, Edit.STYLE, Edit.CHARACTER}
    if model.upscaler:
        found.add(Edit.UPSCALE)
    if model.classifier:
        found.add(Edit.DESCRIBE)
    return frozenset(found)


def needs(request: Request, kind: Kind = Kind.GRID) -> tuple[Edit, ...]:
    """What drawing this asks of a model besides making pictures from words, the most telling first."""
    if kind is Kind.CROP:
        return ()
    if kind is Kind.DESCRIBE:
        return (Edit.DESCRIBE,)
    if request.upscale is not None and not request.upscale.creative:
        return (Edit.UPSCALE,)
    asked = {
        Edit.REFINE: request.upscale is not None,
        Edit.OUTPAINT: request.canvas is not None,
        Edit.INPAINT: request.canvas is None and any(one.role is Role.MASK for one in request.inputs),
        Edit.VARIATION: kind is Kind.VARIATION and request.strength < 1.0,
        **{edit: any(one.role is role for one in request.inputs) for role, edit in _ROLES.items()},
        Edit.TILE: request.tile,
        Edit.LORA: bool(request.loras),
        Edit.NEGATIVE: bool(request.negative),
        Edit.WEIGHTS: _weighted(request.prompt),
        Edit.STOP: request.stop < 100,
        Edit.CHAOS: request.chaos > 0,
    }
    return tuple(edit for edit, wanted in asked.items() if wanted)


def _weighted(prompt: str) -> bool:
    try:
        return is_weighted(prompt)
    except ValueError:
        return True  # weights that cannot be; whoever reads the prompt says so


def sentence(edit: Edit, model: Model, others: Iterable[Model] = ()) -> str:
    """What the model lacks and what would do; names one of `others` that can."""
    lacks, instead = _SENTENCES[edit]
    able = next((other.name for other in others if edit in abilities(other)), None)
    choose = f", or choose a model that can: `--model {able}`" if able else ""
    return f"{lacks.format(model=f'`{model.name}`')}. {instead}{choose}."


def lacking(
    request: Request, model: Model, kind: Kind = Kind.GRID, others: Iterable[Model] = ()
) -> tuple[Edit, str] | None:
    """The first thing that the request needs and the model lacks, with its sentence; None when it can all be done."""
    can = abilities(model)
    if Edit.VARIATION in can and kind is Kind.GRID and len(request.inputs) == 1:
        can |= {Edit.IMAGE_PROMPT}  # one picture alone is where the new one starts, also without an adapter
    for edit in needs(request, kind):
        if edit not in can:
            return edit, sentence(edit, model, others)
    return None
