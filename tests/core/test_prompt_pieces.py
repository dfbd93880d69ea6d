"""Which dashes start a parameter, on whatever keyboard it was typed, and what other programs' signs become."""

import unicodedata

import pytest

from core import parameter_parsers, prompt_pieces
from core.job import Lora
from tests.core.prompts import read, wrong


@pytest.mark.parametrize("dash", [d for d in map(chr, range(0x11000)) if unicodedata.category(d) == "Pd" and d != "-"])
def test_every_dash_of_unicode_starts_a_parameter_alone_or_twice(dash):
    for typed in (f"{dash}ar 16:9", f"{dash}{dash}ar 16:9", f"-{dash}ar 16:9", f"{dash}ar16:9", f"{dash}AR=16:9"):
        request = read(f"a boat {typed}").request
        assert (request.prompt, request.width, request.height) == ("a boat", 352, 192), typed


@pytest.mark.parametrize(
    "typed",
    ["——ar 16:9", "–-ar 16:9", "－－ar 16:9", "−ar 16:9", "−−ar 16:9", "―ar 16:9", "—ar16:9", "--ar16:9", "ーーar 16:9",
     "—ar 16：9", "--ar １６：９", "--ar 16∶9", "--ar 16×9", "--ar 16／9", "--ar＝16:9", "－－ａｒ　１６：９",
     "，--ar 16:9，"],
)  # fmt: skip
def test_dashes_and_signs_of_all_keyboards_are_read(typed):
    request = read(f"a boat {typed}").request
    assert (request.prompt, request.width, request.height) == ("a boat", 352, 192)


def test_values_may_have_the_signs_of_other_keyboards_and_stand_right_behind_the_name():
    parsed = read("a boat ——seed７ −−cfg ６．５ —steps30 --lora ink:−０．５ --sampler dpmpp＿2m —chaos5")
    request = parsed.request
    assert (request.seed, request.guidance, request.steps, request.chaos) == (7, 6.5, 30, 5)
    assert (request.loras, request.sampler) == ((Lora(name="ink", weight=-0.5),), "dpmpp_2m")
    assert read("a boat —s250 --model styled").request.house.weight == 0.25
    assert read("a boat --v6.1 --niji6").ignored == ("--v", "--niji")
    assert read("一艘船 ——no 人，车、雾").request.negative == "人, 车, 雾"
    assert wrong("a boat --seed １２x").mistakes[0].word == "１２x"
    for typed in ("a boat --seed:7 --no:fog", "a boat ——seed：７ ——no：fog", "a boat —seed: 7 —no: fog"):
        assert (read(typed).request.seed, read(typed).request.negative) == (7, "fog"), typed


def test_a_comma_of_a_number_in_what_should_not_be_there_parts_nothing():
    request = read("a boat --no (fog:1,3) , (rain：１，２)，1,2 birds,3").request
    assert request.negative == "(fog:1,3), (rain：１，２), 1, 2 birds, 3"


@pytest.mark.parametrize(
    "prose",
    ["a boat — at sea", "Paris—Texas", "a castle —in the sky", "a garden —see below", "a boat — no, two", "他说——你好",
     "a beach –– quiet", "1990–1999", "Wi‐Fi at 5−3", "a road —not taken", "スーパーマーケット",
     "well-made, mid-size 3",
     "a duck—a 3 metre one", "an inn —modern style", "one - two", "from 3 -4 to 5", "――夢", "他说——no way",
     "他说——fast food", "コーヒーno 1", "他说—no 人", "a boat——no people"],
)  # fmt: skip
def test_dashes_in_prose_stay_prose(prose):
    parsed = read(prose)
    assert (parsed.request.prompt, parsed.ignored) == (prose, ())


@pytest.mark.parametrize(
    "text",
    ["a boat— ar 16:9", "a boat — ar 16:9", "a boat—ar 16:9", "a boat —— seed 7", "a boat −−　ar 16:9", "a boat—ar16:9",
     "a boat -ar16:9", "a boat--steps4", "a boat — s 250", "一艘船——no 人", "一艘船。——no 人，雾", "一艘船——relax",
     "一艘船——tile ——seed 3", "ボートーーno 人", "（船）－－turbo"],
)  # fmt: skip
def test_a_parameter_behind_a_dash_that_does_not_count_is_refused_where_its_value_tells(text):
    assert "is not read as a parameter. Write `--" in wrong(text).sentence


@pytest.mark.parametrize(
    ("text", "prompt", "loras"),
    [
        ("a boat <lora:ink:0.8>", "a boat", {"ink": 0.8}),
        ("<lora:ink>a boat", "a boat", {"ink": 1}),
        ("a <lora:sub/Ink.safetensors:-1,5> boat", "a boat", {"ink": -1.5}),
        ("a boat ＜lora：ink：０．８＞", "a boat", {"ink": 0.8}),
        ("a boat <lyco:ink:0.5:0.5> --lora glow:0.1 --seed 3", "a boat", {"ink": 0.5, "glow": 0.1}),
        ("a boat --seed 3 <lora:ink:unet=0.5>", "a boat", {"ink": 0.5}),
        ("ha<lora:ink:1>rd", "ha rd", {"ink": 1}),
    ],
)
def test_a_tag_of_other_programs_names_a_lora_and_is_no_words(text, prompt, loras):
    request = read(text).request
    assert (request.prompt, {lora.name: lora.weight for lora in request.loras}) == (prompt, loras)


@pytest.mark.parametrize(
    ("text", "word", "told"),
    [
        ("a boat <lora:ink:3>", "ink:3", "-2 to 2"),
        ("a boat <lora:inc:1>", "inc:1", "`ink`"),
        ("a boat <lora:ink:0.8:0.2>", "<lora:ink:0.8:0.2>", "has several weights"),
        ("a boat <lora:ink:1> --lora ink", "ink", "named twice"),
        ("a boat --no fog <lora:ink:1>", "<lora:ink:1>", "Write it before"),
        ("a boat <hypernet:ink:1>", "<hypernet:ink:1>", "hypernetworks do not work here"),
        ("<lora:ink:1>", "", "no words"),
        ("a <lora::1> boat", ":1", "the name of a LoRA"),
        ("a boat <lora: ink : 3 >", " ink : 3 ", "-2 to 2"),
        ("a boat--ar 3:2 <lora:ink>", "--ar", "a separate word"),
    ],
)
def test_a_tag_that_cannot_be_is_refused_at_its_place(text, word, told):
    error = wrong(text)
    assert (error.mistakes[0].word, told in error.sentence, error.prompt) == (word, True, text)
    assert text[error.mistakes[0].start : error.mistakes[0].start + len(word)] == word


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a [cat:dog:0.5]", "`[cat:dog:0.5]`"),
        ("a [cat|dog] [at sea]", "`[cat|dog]`"),
        ("a {red, green} boat", "`{red, green}`"),
        ("a cat BREAK a dog", "`BREAK`"),
        ("embedding:bad-hands, a cat", "`embedding:bad-hands`"),
        ("a ((red)) boat", "`((red))`"),
        ("a <embed:bad-hands> cat", "`<embed:bad-hands>`"),
        ("a <random[2]: red, blue> boat", "`<random[2]: red, blue>`"),
    ],
)
def test_signs_of_other_programs_that_are_drawn_as_words_are_named(text, named):
    parsed = read(text)
    assert parsed.notes == (f"Not known here and read as words: {named}.",)
    assert parsed.request.prompt == text


@pytest.mark.parametrize(
    "text",
    ["a [boat] {blue}", "GIVE ME A BREAK", "an embedding: stones", "salt AND-gate", "[]", "a < b: c > d", "a <3 b",
     "f(g(x))", "(a (b) c)", r"\((a))"],
)  # fmt: skip
def test_brackets_and_words_of_prose_are_not(text):
    assert read(f"{text} x" if text == "[]" else text).notes == ()


def test_in_prose_of_many_dashes_few_words_are_held_against_all_names(monkeypatch):
    asked = []
    monkeypatch.setattr(prompt_pieces, "nearest", lambda word, *names, **how: asked.append(word))
    assert read("a boat " + "—abx 1 " * 180).request.prompt.startswith("a boat —abx 1")
    assert len(asked) == 16


def test_behind_a_thousand_names_no_more_than_numbers_is_looked_at(monkeypatch):
    seen = []
    plain = parameter_parsers.plain_signs
    monkeypatch.setattr(parameter_parsers, "plain_signs", lambda text: seen.append(len(text)) or plain(text))
    assert read("-ar1" * 375).request.prompt == "-ar1" * 375
    assert sum(seen) <= 40 * 375
