"""Nothing that reads what members typed or what lies in files takes longer than the text is long.

Work is counted, not timed: for patterns the steps of backtracking, for parsers the lines of Python that run. Each text
is grown to four times its length, and the work may grow to little more than four times as much.
"""

import ast
import json
import re
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bot.blocked_words import BlockedWords
from bot.messages import ComponentId
from bot.text import code_block, from_code_block, harmless
from core import folder_format, lora_plan, prompt_weights, safetensors_header
from core.catalogue import POSTCARD, Choices, name_of
from core.errors import DarkroomError
from core.foreign_syntax import read_as_words
from core.model_capabilities import missing_capability
from core.pasted_prompt import clean
from core.prompt import Defaults, parse
from core.prompt_addresses import take_addresses
from core.spelling import nearest, quoted
from tests.harness.source_tree import modules, tree_of
from tests.harness.source_tree import name_of as file_name
from tests.meta.regex_steps import Counter, TooManySteps, worst_texts

SHORT, LONG = 24, 96
#: How much the work may grow when a text grows to four times its length; the square would be 16.
MOST_GROWTH = 6.5
#: Steps for each character that are no matter, however they grow: small counts are uneven.
FREE = 12
#: Steps for a short text that no text so short may take.
TOO_MANY = 5000
PACKAGES = ("bot", "cogs", "core", "storage", "worker")
ANCHORED = {"match", "fullmatch"}

#: Where, the pattern (None: made of data), its flags, and the methods that it is used with.
Found = tuple[str, str | None, int, frozenset[str]]


def patterns(path: Path) -> Iterator[Found]:
    """The patterns that a file compiles or uses."""
    tree = tree_of(path)
    constants: dict[str, Any] = {}
    compiled: dict[ast.expr, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            compiled[node.value] = node.targets[0].id
            with suppress(Exception):  # of all that a file names, only texts matter here
                constants[node.targets[0].id] = evaluated(node.value, constants)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_re(node.func.value)):
            continue
        method, where = node.func.attr, f"{file_name(path)}:{node.lineno}"
        at_top = node in compiled
        try:
            pattern = evaluated(node.args[0], constants if at_top else {})
        except NameError:
            yield where, None, 0, frozenset({method})
            continue
        used = _methods_of(tree, compiled[node]) if at_top else frozenset({method})
        yield where, pattern, _flags(node), used


def evaluated(node: ast.expr, names: dict[str, Any]) -> Any:
    """What a plain expression of constants is. Raises NameError for anything else."""
    return eval(compile(ast.Expression(node), "", "eval"), {"__builtins__": {}}, names)


def _flags(call: ast.Call) -> int:
    arguments = (*call.args[1:], *(keyword.value for keyword in call.keywords))
    named = [
        node.attr
        for one in arguments
        for node in ast.walk(one)
        if isinstance(node, ast.Attribute) and _is_re(node.value)
    ]
    return sum(int(getattr(re, name)) for name in named)


def _is_re(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "re"


def _methods_of(tree: ast.Module, name: str) -> frozenset[str]:
    return frozenset(
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    ) or frozenset({"search"})


FOUND = [found for path in modules(*PACKAGES) if "import re\n" in path.read_text("utf-8") for found in patterns(path)]
ALL = [found for found in FOUND if found[1] is not None]


def steps(found: Found, text: str, limit: int) -> int:
    """How many the text takes; the limit where there are more."""
    _where, pattern, flags, methods = found
    assert pattern is not None
    counter = Counter(pattern, flags, limit)
    try:
        if methods <= ANCHORED:
            counter.match(text, 0, whole=methods == {"fullmatch"})
        else:
            counter.scan(text)
    except TooManySteps:
        return limit
    return counter.steps


def grows(found: Found, start: str, pump: str, end: str) -> bool:
    """Whether the work grows faster than the text."""
    few = steps(found, start + (pump * SHORT)[:SHORT] + end, TOO_MANY)
    most = max(FREE * LONG, int(MOST_GROWTH * few))
    return few == TOO_MANY or steps(found, start + (pump * LONG)[:LONG] + end, most) == most


def test_no_pattern_is_made_of_data() -> None:
    # Whoever wrote the data would decide how long it takes, and what it finds.
    assert not [where for where, pattern, _, _ in FOUND if pattern is None]


@pytest.mark.parametrize("found", ALL, ids=[f"{found[0]} {'/'.join(sorted(found[3]))}" for found in ALL])
def test_no_pattern_takes_longer_than_its_text_is_long(found: Found) -> None:
    slow = [text for text in worst_texts(found[1] or "", found[2]) if grows(found, *text)]
    assert not slow, f"{found[1]} is slow for {slow[:3]}"


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        (r"\((?P<words>[^()]*[^()\s:][^()]*):\s*(?P<weight>\d+\.?\d*|\.\d+)\s*\)", "finditer"),
        (r"(a+)+b", "match"),
        (r"\s+x", "search"),
        (r"\d+\.?\d*(?!\w)", "match"),
        (r"(?:a|a)*b", "fullmatch"),
        (r"\w+\s*=\s*\w*;", "search"),
    ],
)
def test_a_pattern_that_is_slow_is_found(pattern: str, method: str) -> None:
    found = "", pattern, 0, frozenset({method})
    assert any(grows(found, *text) for text in worst_texts(pattern, 0))


@pytest.mark.parametrize(
    ("pattern", "text", "end"),
    [(r"\d{2,3}?(?:a|b)*+c?", "12ababc", 7), (r"(?i)[^x]+(?<=B)", "aAb", 3), (r"(?>a+)a", "aaa", None),
     (r"^\w+?\b(?!z)", "ab z", 2), (r"a{2}$", "aa\n", 2), (r"a{3}", "aa", None)],
)  # fmt: skip
def test_steps_are_counted_on_matches_as_re_finds_them(pattern: str, text: str, end: int | None) -> None:
    match = re.match(pattern, text)
    assert (match.end() if match else None) == end
    assert Counter(pattern, 0, 10**4).match(text, 0) == end


BLOCKED = BlockedWords(["bad", "bad phrase", "c++", "a a a a b"])
CHOICES = Choices(default="postcard", models={"postcard": POSTCARD})
#: All that reads text of members or names in files, in Python. What each may raise is its answer.
READERS: dict[str, Callable[[str], Any]] = {
    "prompt": lambda text: parse(clean(text), choices=CHOICES, defaults=Defaults(), seed=1),
    "weights": prompt_weights.parse,
    "weights without signs": lambda text: prompt_weights.without_signs(text, " "),
    "blocked words": BLOCKED.find,
    "foreign syntax": read_as_words,
    "addresses": take_addresses,
    "clean": clean,
    "quoted": quoted,
    "harmless": lambda text: harmless(text, 10**6),
    "code block": lambda text: from_code_block(code_block(text)),
    "custom id": ComponentId.parse,
    "name of a file": name_of,
}
PIECES = (
    "(", ")", "a", ":1.2)", "(a:1.1)", "::1 ", "\\(", "1", " ", "--", "— ", "—abx 1 ", "--no a ", "<lora:", "[", "|",
    "，", "**", " - @a ", "https://a ", "а", "\u200b", "裸", "bad ", "`",
    "ﷺ", "ⓐ", "\u0336", "\u0e31", "bad1",
)  # fmt: skip


def lines_run(reader: Callable[[Any], Any], text: Any) -> int:
    """How many lines of Python it takes."""
    counted = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal counted
        counted += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        reader(text)
    except (ValueError, DarkroomError):
        pass
    finally:
        sys.settrace(before)
    return counted


def grown_texts(size: int) -> Iterator[tuple[str, str]]:
    """By what they are made of: one piece over and over, two in turn, and many of one before many of another."""
    for one in PIECES:
        yield repr(one), (one * size)[:size]
        for other in PIECES:
            if one != other:
                yield f"{one!r} in turn with {other!r}", ((one + other) * size)[:size]
                yield f"{one!r} before {other!r}", (one * size)[: size // 2] + (other * size)[: size // 2]


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_takes_longer_than_its_text_is_long(reader: str) -> None:
    read, slow = READERS[reader], []
    for (made_of, short), (_, long) in zip(grown_texts(100), grown_texts(400), strict=True):
        few, many = lines_run(read, short), lines_run(read, long)
        if many > MOST_GROWTH * few + FREE * len(long):
            slow.append((made_of, few, many))
    assert not slow


#: All that reads a folder's names or a file's header, by so many names.
LISTS: dict[str, Callable[[Sequence[str]], Any]] = {
    "weights in a folder": folder_format.plain,
    "a header": lambda names: safetensors_header.parse(header(names)),
    "a LoRA": lambda names: lora_plan.plan_of(*lora(names)),
}
NAMES = (
    "model-{:05}-of-00096.safetensors", "model.v{}.safetensors", "model-00001-of-{:05}.safetensors",
    "model.safetensors.{}.index.json", "lora_unet_{}.lora_down.weight", "{}",
)  # fmt: skip


def header(names: Sequence[str]) -> bytes:
    """Of a file with tensors of these names, which are one byte long."""
    tensors = {name: {"dtype": "U8", "shape": [1], "data_offsets": [at, at + 1]} for at, name in enumerate(names)}
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


def lora(names: Sequence[str]) -> tuple[safetensors_header.Header, lora_plan.Networks, dict[str, Any]]:
    """A file that changes layers of these names, a network that has them, and an alpha of its own for each."""
    layers = [name.replace(".", "_") for name in names]
    entries = {
        f"unet.{layer}.lora_{side}.weight": {"dtype": "F16", "shape": [2, 2], "data_offsets": [8 * at, 8 * at + 8]}
        for at, (layer, side) in enumerate((layer, side) for layer in layers for side in "AB")
    }
    text = json.dumps(entries).encode()
    config = {"peft_type": "LORA", "lora_alpha": 2, "alpha_pattern": dict.fromkeys(layers, 4)}
    return (
        safetensors_header.parse(struct.pack("<Q", len(text)) + text),
        {"unet": dict.fromkeys(layers, (2, 2))},
        config,
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reader", LISTS)
def test_no_reader_of_names_takes_longer_than_there_are_names(reader: str, name: str) -> None:
    few, many = (lines_run(LISTS[reader], [name.format(place) for place in range(count)]) for count in (100, 400))
    assert many <= 4.6 * few, "four times as many names, and what is the same for any number"


def test_among_ten_thousand_names_the_nearest_is_found_without_comparing_each() -> None:
    names = [f"style-{number}" for number in range(10_000)]
    assert nearest("stile-77", names) is not None and nearest("xstyle-7", names) is not None
    assert lines_run(lambda word: nearest(word, names), "stile-77") < 25 * len(names)


def test_a_prompts_weights_are_read_once_for_its_parser_its_admission_and_its_encoders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts: list[str] = []
    read = prompt_weights._parts
    monkeypatch.setattr(prompt_weights, "_parts", lambda text, plain: texts.append(text) or read(text, plain))
    request = READERS["prompt"]("a (red:1.3) boat that nobody asked for before --no such fog").request
    for _ in range(3):
        missing_capability(request, POSTCARD)
        prompt_weights.parse(request.prompt)
    assert texts == [request.prompt, request.negative]
