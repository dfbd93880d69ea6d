"""Counts the steps that backtracking takes for a pattern and a text, so that tests need no clock. Knows none of ours.

Does what `re` does, without its shortcuts: a character looked at is one step. The tree of a pattern comes from `re`'s
own parser, which is not promised to stay; tried with Python 3.11.
"""

import re
from collections.abc import Iterable, Iterator
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

#: What fills texts: a small letter, a digit, blanks, signs that patterns name, and a letter that none does.
_POOL = "a1 :(-.,\n_=<>[]{})\"'/A\\é\0"
#: Repeats that end sooner take no time to speak of.
_NEAR = 64
_REPEATS = {op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT}
_CATEGORIES = {
    op.CATEGORY_SPACE: r"\s", op.CATEGORY_NOT_SPACE: r"\S", op.CATEGORY_DIGIT: r"\d", op.CATEGORY_NOT_DIGIT: r"\D",
    op.CATEGORY_WORD: r"\w", op.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


class TooManySteps(Exception):
    """More than the limit."""


class Counter:
    """One pattern; `steps` counts all that was asked of it."""

    def __init__(self, pattern: str, flags: int, limit: int) -> None:
        self.tree = list(_parser.parse(pattern, flags))
        self._flags, self._limit = re.compile(pattern, flags).flags, limit
        self.steps = 0

    def match(self, text: str, start: int, *, whole: bool = False) -> int | None:
        """Where the match that starts there ends."""
        ends = self._sequence(self.tree, 0, text, start)
        return next((end for end in ends if not whole or end == len(text)), None)

    def scan(self, text: str) -> None:
        """Looks for all matches, from left to right."""
        at = 0
        while at <= len(text):
            end = self.match(text, at)
            at = end if end is not None and end > at else at + 1

    def _count(self) -> None:
        self.steps += 1
        if self.steps > self._limit:
            raise TooManySteps

    def _sequence(self, nodes: list[Any], at: int, text: str, start: int) -> Iterator[int]:
        if at == len(nodes):
            yield start
            return
        for end in self._node(nodes[at], text, start):
            yield from self._sequence(nodes, at + 1, text, end)

    def _node(self, node: Any, text: str, start: int) -> Iterator[int]:
        name, held = node
        if is_character(node):
            self._count()
            if start < len(text) and self.accepts(node, text[start]):
                yield start + 1
        elif name in _REPEATS:
            low, high, body = held
            ends = self._repeat(list(body), low, high, text, start, lazy=name is op.MIN_REPEAT)
            yield from first(ends) if name is op.POSSESSIVE_REPEAT else ends
        elif name is op.SUBPATTERN:
            yield from self._sequence(list(held[3]), 0, text, start)
        elif name is op.ATOMIC_GROUP:
            yield from first(self._sequence(list(held), 0, text, start))
        elif name is op.BRANCH:
            for body in held[1]:
                yield from self._sequence(list(body), 0, text, start)
        elif name in (op.ASSERT, op.ASSERT_NOT):
            direction, body = held
            begin = start if direction > 0 else start - body.getwidth()[0]
            found = begin >= 0 and any(True for _ in first(self._sequence(list(body), 0, text, begin)))
            if found is (name is op.ASSERT):
                yield start
        elif name is op.AT:
            self._count()
            if re.compile(_ANCHORS[held]).match(text, start):
                yield start
        else:
            raise NotImplementedError(name)

    def _repeat(self, body: list[Any], low: int, high: int, text: str, start: int, *, lazy: bool) -> Iterator[int]:
        """Ends after each number of rounds, the most first, or the fewest where it is lazy."""
        if len(body) == 1 and is_character(body[0]):
            end = start
            while end - start < high and end < len(text) and self.accepts(body[0], text[end]):
                self._count()
                end += 1
            self._count()
            ends = range(start + low, end + 1)
            for one in ends if lazy else reversed(ends):
                self._count()
                yield one
            return
        if lazy and low <= 0:
            yield start
        if high > 0:
            for end in self._sequence(body, 0, text, start):
                if end > start or low > 0:
                    yield from self._repeat(body, low - 1, high - 1, text, end, lazy=lazy)
        if not lazy and low <= 0:
            yield start

    def accepts(self, node: Any, character: str) -> bool:
        """Whether the node's one character may be this one."""
        if self._flags & re.IGNORECASE:
            return any(_accepts(node, one) for one in {character, character.lower(), character.upper()})
        return _accepts(node, character)


_ANCHORS = {
    op.AT_BEGINNING: r"(?<![\s\S])", op.AT_BEGINNING_STRING: r"(?<![\s\S])", op.AT_END: r"(?=\n?(?![\s\S]))",
    op.AT_END_STRING: r"(?![\s\S])", op.AT_BOUNDARY: r"\b", op.AT_NON_BOUNDARY: r"\B",
}  # fmt: skip


def is_character(node: Any) -> bool:
    """Whether the node stands for exactly one character."""
    return node[0] in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY)


def _accepts(node: Any, character: str) -> bool:
    name, held = node
    if name is op.ANY:
        return character != "\n"
    if name in (op.LITERAL, op.NOT_LITERAL):
        return (held == ord(character)) is (name is op.LITERAL)
    negated = bool(held) and held[0][0] is op.NEGATE
    return any(_in_set(item, character) for item in held if item[0] is not op.NEGATE) is not negated


def _in_set(item: Any, character: str) -> bool:
    name, held = item
    if name is op.LITERAL:
        return bool(held == ord(character))
    if name is op.RANGE:
        return bool(held[0] <= ord(character) <= held[1])
    return re.match(_CATEGORIES[held], character) is not None


def first(ends: Iterable[int]) -> Iterator[int]:
    """The first one, if any: what a possessive repeat or an atomic group leaves."""
    for end in ends:
        yield end
        return


def worst_texts(pattern: str, flags: int) -> Iterator[tuple[str, str, str]]:
    """Texts that may make it slow: a start that it takes, what is then repeated, and an end that it does not take."""
    counter = Counter(pattern, flags, 10**6)
    bodies = dict.fromkeys(_repeated(counter, counter.tree, within=False))
    characters = dict.fromkeys(c for body in bodies for c in body)
    pairs = (one + other for one in characters for other in characters if one != other)
    starts = ["", *(_sample(counter, counter.tree[:at]) for at in range(len(counter.tree) + 1))]
    for start in dict.fromkeys(starts):
        for pump in dict.fromkeys([*bodies, *characters, *pairs]):
            for end in ("", "\0", "a"):
                yield start, pump, end


def _repeated(counter: Counter, nodes: list[Any], *, within: bool) -> Iterator[str]:
    """A sample of each body that is repeated without an end that is near, and of each character in it."""
    for node in nodes:
        name, held = node
        if is_character(node):
            if within:
                yield _sample(counter, [node])
        elif name in _REPEATS:
            inside = within or held[1] > _NEAR
            if inside:
                yield _sample(counter, list(held[2]))
            yield from _repeated(counter, list(held[2]), within=inside)
        elif name is op.BRANCH:
            for body in held[1]:
                if within:
                    yield _sample(counter, list(body))
                yield from _repeated(counter, list(body), within=within)
        elif name in (op.SUBPATTERN, op.ATOMIC_GROUP, op.ASSERT, op.ASSERT_NOT):
            yield from _repeated(counter, list(held if name is op.ATOMIC_GROUP else held[-1]), within=within)


def _sample(counter: Counter, nodes: list[Any]) -> str:
    """A text that the nodes take, as a rule."""
    parts = []
    for node in nodes:
        name, held = node
        if is_character(node):
            named = chr(held) if name is op.LITERAL else ""
            parts.append(named or next((c for c in _POOL if counter.accepts(node, c)), "x"))
        elif name in _REPEATS:
            parts.append(_sample(counter, list(held[2])) * max(1, held[0]))
        elif name is op.BRANCH:
            parts.append(_sample(counter, list(held[1][0])))
        elif name in (op.SUBPATTERN, op.ATOMIC_GROUP):
            parts.append(_sample(counter, list(held if name is op.ATOMIC_GROUP else held[3])))
    return "".join(parts)
