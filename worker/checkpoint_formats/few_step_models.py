"""Tells by a model's name whether it was distilled for few steps: Turbo, Lightning, LCM, ... Opens no file."""

import re

#: Words in names of models that were taught to need few steps, and no second forward: whole words, or behind SD or XL.
_START = r"(?:(?<![a-z])|(?<=sd)|(?<=xl))"
_TAUGHT = re.compile(_START + r"(turbo|lightning|lcm|dmd|schnell)(?![a-z])")
#: A word of many names ("hyperrealism") and of one method, which is called Hyper-SD.
_HYPER = re.compile(_START + r"(hyper)(?:[-_. ]?sd(?:xl)?)?(?![a-z])(?![-_. ]?real)")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def few_step_methods(name: str) -> frozenset[str]:
    """By which methods a model was taught to need few steps, as far as its name tells; mostly by none.

    >>> sorted(few_step_methods("dreamshaperXL_v21TurboLCM"))
    ['lcm', 'turbo']
    >>> few_step_methods("hyperrealism-xl")
    frozenset()
    """
    words = _CAMEL.sub("-", name).lower()
    return frozenset([*_TAUGHT.findall(words), *_HYPER.findall(name.lower())])
