"""What a request needs of its model, and one sentence where the model lacks it. Pure: knows no queue and no person.

What a model can do is what its worker said of it. Before one has spoken it is what its family can, and what the
companions can that the catalogue names for it.
"""

from collections.abc import Iterable, Mapping

from core.catalogue import Capability, Model
from core.job import Kind, Request, Role
from core.prompt_weights import is_weighted

#: What the engine can do with every UNet of Stable Diffusion's families.
_UNET = frozenset({
    Capability.VARIATION, Capability.INPAINT, Capability.OUTPAINT, Capability.TILE, Capability.REFINE,
    Capability.LORA, Capability.NEGATIVE, Capability.WEIGHTS, Capability.STOP, Capability.CHAOS, Capability.PREVIEW,
})  # fmt: skip
#: A transformer has no edges to join, and one that is distilled no second forward for what should not be there.
_FLUX = frozenset({
    Capability.VARIATION, Capability.INPAINT, Capability.OUTPAINT, Capability.REFINE,
    Capability.LORA, Capability.STOP, Capability.CHAOS, Capability.PREVIEW,
})  # fmt: skip
_BY_FAMILY: Mapping[str, frozenset[Capability]] = {
    **dict.fromkeys(("sd", "sd1", "sd2", "sdxl"), _UNET),
    "flux": _FLUX,
    "any": frozenset({Capability.PREVIEW}),
}
_ROLES = {Role.PROMPT: Capability.IMAGE_PROMPT, Role.STYLE: Capability.STYLE, Role.CHARACTER: Capability.CHARACTER}
#: What cannot be done, and what would do, for each capability; `{model}` is the model's name.
_SENTENCES: Mapping[Capability, tuple[str, str]] = {
    Capability.VARIATION: ("{model} cannot start from a picture", "🔄 makes new ones from the words"),
    Capability.INPAINT: ("{model} cannot change part of a picture", "Ask for a new one with different words"),
    Capability.OUTPAINT: ("{model} cannot extend a picture", "`--ar` asks for a wider one from the start"),
    Capability.TILE: ("{model} cannot make pictures that tile", "Leave out `--tile`"),
    Capability.IMAGE_PROMPT: ("{model} cannot use a picture as a prompt", "Describe it in words"),
    Capability.STYLE: ("{model} cannot take a style from a picture", "Describe the style in words"),
    Capability.CHARACTER: ("{model} cannot take a character from a picture", "Describe the character in words"),
    Capability.UPSCALE: ("{model} has no upscaler", "U posts the picture as it is"),
    Capability.REFINE: ("{model} cannot redraw a picture at a larger size", "The subtle upscale may work"),
    Capability.DESCRIBE: (
        "{model} has nothing that describes pictures",
        "The owner can set a classifier for it",
    ),
    Capability.LORA: ("{model} does not take LoRAs", "Leave out `--lora`"),
    Capability.NEGATIVE: ("{model} cannot be told what to leave out", "Leave out `--no`"),
    Capability.WEIGHTS: ("{model} cannot weight parts of a prompt", "Leave out the numbers after the colons"),
    Capability.STOP: ("{model} cannot stop early", "Leave out `--stop`"),
    Capability.CHAOS: ("{model} does not support chaos", "Leave out `--chaos`"),
    Capability.PREVIEW: ("{model} shows no previews", "The finished picture still comes"),
}


def capabilities(model: Model) -> frozenset[Capability]:
    """What the model can do, as far as is known."""
    if model.edits is not None:
        return frozenset(capability for capability in Capability if capability.value in model.edits)
    found = set(_BY_FAMILY.get(model.family, _BY_FAMILY["any"]))
    if model.adapter and Capability.TILE in found:  # adapters are read for UNets, and those can tile
        found |= {Capability.IMAGE_PROMPT, Capability.STYLE, Capability.CHARACTER}
    if model.upscaler:
        found.add(Capability.UPSCALE)
    if model.classifier:
        found.add(Capability.DESCRIBE)
    return frozenset(found)


def needed_capabilities(request: Request, kind: Kind = Kind.GRID) -> tuple[Capability, ...]:
    """What drawing this asks of a model besides making pictures from words, the most telling first."""
    if kind is Kind.CROP:
        return ()
    if kind is Kind.DESCRIBE:
        return (Capability.DESCRIBE,)
    if request.upscale is not None and not request.upscale.creative:
        return (Capability.UPSCALE,)
    asked = {
        Capability.REFINE: request.upscale is not None,
        Capability.OUTPAINT: request.canvas is not None,
        Capability.INPAINT: request.canvas is None and any(one.role is Role.MASK for one in request.inputs),
        Capability.VARIATION: kind is Kind.VARIATION and request.strength < 1.0,
        **{capability: any(one.role is role for one in request.inputs) for role, capability in _ROLES.items()},
        Capability.TILE: request.tile,
        Capability.LORA: bool(request.loras),
        Capability.NEGATIVE: bool(request.negative),
        Capability.WEIGHTS: _weighted(request.prompt) or _weighted(request.negative),
        Capability.STOP: request.stop < 100,
        Capability.CHAOS: request.chaos > 0,
    }
    return tuple(capability for capability, wanted in asked.items() if wanted)


def _weighted(prompt: str) -> bool:
    try:
        return is_weighted(prompt)
    except ValueError:
        return True  # weights that cannot be; whoever reads the prompt says so


def sentence(capability: Capability, model: Model, others: Iterable[Model] = ()) -> str:
    """What the model lacks and what would do; names one of `others` that can."""
    lacks, instead = _SENTENCES[capability]
    able = next((other.name for other in others if capability in capabilities(other)), None)
    choose = f", or choose a model that can: `--model {able}`" if able else ""
    return f"{lacks.format(model=f'`{model.name}`')}. {instead}{choose}."


def missing_capability(
    request: Request, model: Model, kind: Kind = Kind.GRID, others: Iterable[Model] = ()
) -> tuple[Capability, str] | None:
    """The first thing that the request needs and the model lacks, with its sentence; None when it can all be done."""
    can = capabilities(model)
    if Capability.VARIATION in can and kind is Kind.GRID and len(request.inputs) == 1:
        can |= {Capability.IMAGE_PROMPT}  # one picture alone is where the new one starts, also without an adapter
    for capability in needed_capabilities(request, kind):
        if capability not in can:
            return capability, sentence(capability, model, others)
    return None
