"""What people may type, and what they are told when it is wrong."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.catalogue import POSTCARD, SD15
from core.errors import PromptError
from core.job import Lane
from core.parameters import BY_NAME, IGNORED, PARAMETERS, table
from core.prompt import MAX_TEXT, MAX_TYPED, Defaults, Parsed, clean, parse


def read(text: str, **changes: object) -> Parsed:
    return parse(text, model=POSTCARD, defaults=Defaults(**changes), seed=4242)  # type: ignore[arg-type]


def wrong(text: str) -> PromptError:
    with pytest.raises(PromptError) as caught:
        read(text)
    return caught.value


def test_plain_words_get_the_models_own_settings():
    request = read("a red boat on the sea").request
    assert (request.prompt, request.width, request.height) == ("a red boat on the sea", 256, 256)
    assert (request.seed, request.count, request.steps) == (4242, 4, POSTCARD.steps)
    assert (request.guidance, request.sampler, request.stop) == (POSTCARD.guidance, POSTCARD.sampler, 100)


def test_every_parameter_reaches_the_request():
    parsed = read(
        "a boat --ar 16:9 --seed 7 --no people, text --steps 30 --cfg 6.5 --sampler dpmpp_2m --stop 60"
        " --count 2 --relax"
    )
    request = parsed.request
    assert (request.width, request.height) == POSTCARD.size_for(16, 9)
    assert (request.seed, request.negative, request.steps, request.guidance) == (7, "people, text", 30, 6.5)
    assert (request.sampler, request.stop, request.count, parsed.lane) == ("dpmpp_2m", 60, 2, Lane.RELAX)


@pytest.mark.parametrize("text", ["a boat --aspect 16:9", "a boat —ar 16:9", "a boat –ar 16x9", "a boat, --ar=16:9,"])
def test_the_ratio_may_be_said_in_several_ways(text):
    request = read(text).request
    assert (request.prompt, request.width, request.height) == ("a boat", 352, 192)


def test_more_steps_than_there_are_become_the_most_and_a_note_says_so():
    parsed = read("a boat --quality 4 --steps 100")
    assert parsed.request.steps == 100
    assert parsed.notes == ("400 steps were asked for; 100 are the most.",)
    assert read("a boat --quality 2 --steps 50").notes == ()


def test_quality_multiplies_the_steps():
    assert read("a boat --q 2").request.steps == 2 * POSTCARD.steps
    assert read("a boat --steps 10 --quality 0,5").request.steps == 5


def test_a_dash_inside_the_words_is_not_a_parameter():
    assert read("a cat — asleep -- on a well-made bed --- really").request.prompt.endswith("--- really")


def test_a_comma_may_stand_before_a_parameter():
    parsed = read("a red boat,--seed 5,--steps 6")
    assert (parsed.request.prompt, parsed.request.seed, parsed.request.steps) == ("a red boat", 5, 6)


def test_a_shape_that_the_model_cannot_draw_is_said_and_a_near_one_is_not():
    assert read("a cat --ar 1:4").notes == ("1:4 is 160×384 here, the nearest that the model draws.",)
    assert read("a cat --ar 16:9").notes == ()


def test_words_may_stand_on_several_lines():
    assert read("a boat\n  on the\tsea\n--seed 5").request.prompt == "a boat on the sea"


def test_a_second_no_adds_to_the_first():
    assert read("a boat --no people --no text, logos").request.negative == "people, text, logos"


def test_midjourneys_own_parameters_are_passed_over_and_named():
    parsed = read("a boat --chaos 30 --v 6.1 --sref https://a.example/1.png https://a.example/2.png --tile --seed 9")
    assert parsed.ignored == ("--chaos", "--v", "--sref", "--tile")
    assert parsed.request.seed == 9


@pytest.mark.parametrize(
    ("text", "word", "told"),
    [
        ("a boat --stepps 30", "--stepps", "`--steps`"),
        ("a boat --aspekt 1:1", "--aspekt", "`--ar`"),
        ("a boat --ar16:9", "--ar16:9", "`--ar 16:9`"),
        ("a boat --zzqqx 1", "--zzqqx", "`/help`"),
        ("a boat --steps 500", "500", "1 to 100"),
        ("a boat --steps many", "many", "1 to 100"),
        ("a boat --count 5", "5", "1 to 4"),
        ("a boat --seed -1", "-1", "0 to 4294967295"),
        ("a boat --ar 9:1", "9:1", "1:4 to 4:1"),
        ("a boat --ar 0:1", "0:1", "1:4 to 4:1"),
        ("a boat --cfg", "--cfg", "no value"),
        ("a boat --no", "--no", "no value"),
        ("a boat --sampler eular", "eular", "`euler`"),
        ("a boat --seed 7 on the sea", "on", "Words come first"),
        ("a boat --fast now", "now", "Words come first"),
        ("a boat --seed 7 --seed 8", "--seed", "twice"),
        ("a boat --fast --relax", "--relax", "exclude"),
        ("--ar 16:9", "--ar", "no words"),
        ("  ", "", "no words"),
        ("...", "", "no words"),
        ("\u200d", "", "no words"),
        ("a dog--steps 4", "--steps", "a word of its own"),
        ("a cat -- ar 3:2", "-- ar", "`--ar`"),
        ("a cat --no dog--steps 4", "--steps", "a word of its own"),
    ],
)
def test_a_mistake_names_the_word_the_range_and_the_right_name(text, word, told):
    error = wrong(text)
    assert error.word == word
    assert told in error.sentence
    assert text[error.start : error.start + len(word)] == word
    assert error.prompt == text


def test_a_prompt_of_emoji_or_of_any_script_is_words():
    assert read("🚤").request.prompt == "🚤"
    assert read("красная лодка").request.prompt == "красная лодка"


def test_too_long_prompts_are_refused_with_the_limit():
    assert f"{MAX_TEXT:,}" in wrong("boat " * 400).sentence
    assert f"{MAX_TYPED:,}" in wrong("boat " * 1000).sentence


def test_defaults_hold_where_the_prompt_says_nothing():
    request = read("a boat", ratio=(2.0, 1.0), count=1, steps=5).request
    assert (request.width, request.height, request.count, request.steps) == (352, 192, 1, 5)


def test_a_quoted_word_cannot_leave_its_code_span():
    sentence = wrong("a boat --x`@everyone`[a](http://b.example)").sentence
    assert sentence.count("`") == 4  # the word's own two, and those of `/help`


def test_cleaning_removes_what_cannot_be_stored():
    assert clean("a\x00 boat\ud800 🏳️‍🌈\n") == "a boat 🏳️‍🌈"


def test_names_are_unambiguous_and_every_row_of_the_table_is_documented():
    assert not set(BY_NAME) & set(IGNORED)
    assert all(f"`--{parameter.name}`" in table() for parameter in PARAMETERS)


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_the_example_of_every_parameter_is_accepted(parameter):
    assert read(f"a boat {parameter.example}").ignored == ()


_TYPED = st.lists(
    st.one_of(
        st.sampled_from([*(f"--{name}" for name in (*BY_NAME, *IGNORED)), "—ar", "--", "---", "--=", "--,", "—"]),
        st.sampled_from(["16:9", "1", "-1", "1e9", ".5", "0", "99999999999999", "٣", "euler", ",", "::", "=", "\n"]),
        st.text(max_size=8),
    ),
    max_size=12,
).flatmap(lambda parts: st.sampled_from([" ".join(parts), "".join(parts)]))


@given(_TYPED)
@example("--")
@example("a --no ,")
def test_any_text_parses_or_is_refused_at_a_place_inside_it(text):
    for model in (POSTCARD, SD15):
        try:
            request = parse(text, model=model, defaults=Defaults(), seed=1).request
        except PromptError as error:
            assert 0 <= error.start <= len(text)
            assert text[error.start : error.start + len(error.word)] == error.word
            assert error.sentence and error.prompt == text
        else:
            assert request.width % model.multiple == 0 and request.height % model.multiple == 0
            assert 1 <= request.steps <= 100 and 1 <= request.count <= 4 and request.prompt
