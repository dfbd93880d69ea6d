"""What people may type, and what they are told when it is wrong."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.catalogue import POSTCARD, SD15, Choices
from core.errors import PromptError
from core.job import HouseStyle, Lane, Lora
from core.parameters import BY_NAME, IGNORED, PARAMETERS, table
from core.pasted_prompt import clean
from core.prompt import Defaults, parse
from core.prompt_reading import MAX_TEXT, MAX_TYPED
from tests.core.prompts import CHOICES, FLUX, XL, read, wrong


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
    assert parsed.notes == ("400 steps were asked for; the limit is 100.",)
    assert read("a boat --quality 2 --steps 50").notes == ()


def test_quality_multiplies_the_steps():
    assert read("a boat --q 2").request.steps == 2 * POSTCARD.steps
    assert read("a boat --steps 10 --quality 0,5").request.steps == 5


def test_a_dash_inside_the_words_is_not_a_parameter():
    assert read("a cat — asleep -- on a well-made bed --- really").request.prompt.endswith("--- really")


def test_a_comma_may_stand_before_a_parameter():
    parsed = read("a red boat,--seed 5,--steps 6")
    assert (parsed.request.prompt, parsed.request.seed, parsed.request.steps) == ("a red boat", 5, 6)


def test_the_size_that_a_ratio_became_is_said_and_so_is_a_shape_that_the_model_cannot_draw():
    assert read("a cat --ar 1:4").notes == ("Drawn at 160×384 (5:12), the nearest to 1:4 that this model has.",)
    assert read("a cat --ar 16:9").notes == ("Drawn at 352×192 (11:6), the nearest to 16:9 that this model has.",)
    assert read("a cat --ar 1:1").notes == ()


def test_words_may_stand_on_several_lines():
    assert read("a boat\n  on the\tsea\n--seed 5").request.prompt == "a boat on the sea"


def test_a_second_no_adds_to_the_first():
    assert read("a boat --no people --no text, logos").request.negative == "people, text, logos"
    assert read("a boat --no 人 --no 车").request.negative == "人, 车"


def test_midjourneys_own_parameters_are_ignored_and_named():
    parsed = read("a boat --weird 30 --v 6.1 --sref https://a.example/1.png https://a.example/2.png --seed 9")
    assert parsed.ignored == ("--weird", "--v", "--sref")
    assert parsed.unread == ("30", "6.1", "https://a.example/1.png https://a.example/2.png")
    assert parsed.request.seed == 9


@pytest.mark.parametrize(
    ("text", "word", "told"),
    [
        ("a boat --stepps 30", "--stepps", "`--steps`"),
        ("a boat --aspekt 1:1", "--aspekt", "`--ar`"),
        ("a boat --ar16", "16", "like 16:9"),
        ("a boat --tile2", "--tile2", "`--tile`"),
        ("a (red:9) boat", "", "the limit is 4"),
        ("a boat --no (fog:9)", "--no", "the limit is 4"),
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
        ("a boat --fast --relax", "--relax", "used together"),
        ("a boat --turbo --fast", "--fast", "`--turbo` and `--fast` cannot be used together"),
        ("a boat --relax --turbo", "--turbo", "used together"),
        ("a boat --model sdlx", "sdlx", "`sdxl`"),
        ("a boat --model pos", "pos", "`postcard`"),
        ("a boat --model zzz", "zzz", "Available: `flux`, `postcard`, `sdxl`, `styled`."),
        ("a boat --model flux-dev", "flux-dev", "python bot.py models add flux-dev"),
        ("a boat --lora inc:0.5", "inc:0.5", "`ink`"),
        ("a boat --lora ink:3", "ink:3", "-2 to 2"),
        ("a boat --lora ink:", "ink:", "-2 to 2"),
        ("a boat --lora ink --lora ink:0.5", "ink:0.5", "named twice"),
        ("a boat --model sdxl --lora glow", "glow", "`--model styled`"),
        ("a boat --lora a --lora b --lora c --lora d --lora e", "--lora", "may be given up to 4 times"),
        ("a boat --model flux --sampler euler", "euler", "cannot use the sampler `euler`"),
        ("a boat::1000", "", "the limit is 100"),
        ("a boat::1 a tree::-2", "", "must be above 0"),
        ("a (red:1.3) boat --model flux", "", "cannot weight"),
        ("a boat --chaos 101", "101", "0 to 100"),
        ("a boat --stylize 1001", "1001", "0 to 1000"),
        ("a boat --model flux --tile", "--tile", "`--model postcard`"),
        ("a boat --model flux --no people", "--no", "Leave out `--no`"),
        ("--ar 16:9", "--ar", "no words"),
        ("  ", "", "no words"),
        ("...", "", "no words"),
        ("\u200d", "", "no words"),
        ("a dog--steps 4", "--steps", "a separate word"),
        ("a cat -- ar 3:2", "-- ar", "`--ar`"),
        ("a cat --no dog--steps 4", "--steps", "a separate word"),
    ],
)
def test_a_mistake_names_the_word_the_range_and_the_right_name(text, word, told):
    error = wrong(text)
    mistake = next(one for one in error.mistakes if one.word == word)
    assert told in mistake.sentence and mistake.sentence in error.sentence
    assert text[mistake.start : mistake.start + len(word)] == word
    assert error.prompt == text


def test_another_model_brings_its_own_sizes_and_defaults():
    parsed = read("a boat --model sdxl --ar 16:9")
    request = parsed.request
    assert (request.model, request.width, request.height, request.steps) == ("sdxl", 1344, 768, XL.steps)
    assert parsed.notes == ("Drawn by `sdxl`.", "Drawn at 1344×768 (7:4), the nearest to 16:9 that this model has.")
    assert read("a boat --model POSTCARD").notes == ()


def test_a_model_without_guidance_keeps_none_unless_it_is_asked_for():
    assert read("a boat --model flux").request.guidance == 0
    assert read("a boat --model flux --cfg 2").request.guidance == 2


def test_loras_are_named_with_their_weights():
    request = read("a boat --lora ink:0.8 --lora Glow.safetensors:-1,5 --seed 3").request
    assert request.loras == (Lora(name="ink", weight=0.8), Lora(name="glow", weight=-1.5))
    assert request.seed == 3


def test_chaos_and_tile_reach_the_request():
    request = read("a boat --chaos 30 --tile").request
    assert (request.chaos, request.tile) == (30, True)
    assert (read("a boat").request.chaos, read("a boat").request.tile) == (0, False)


def test_the_house_style_counts_a_tenth_unless_more_or_less_is_asked_for():
    assert read("a boat --model styled").request.house == HouseStyle(positive="calm light", negative="fog", weight=0.1)
    assert read("a boat --model styled --stylize 1000").request.house.weight == 1
    assert read("a boat --model styled --s 0").request.house is None


def test_the_styles_guidance_and_lora_grow_with_it_and_the_prompts_own_win():
    full = read("a boat --model styled --stylize 1000").request
    assert (full.guidance, full.loras) == (9.0, (Lora(name="glow", weight=0.8),))
    half = read("a boat --model styled --stylize 500").request
    assert (half.guidance, half.loras) == (8.25, (Lora(name="glow", weight=0.4),))
    own = read("a boat --model styled --stylize 1000 --cfg 3 --lora glow:0.1").request
    assert (own.guidance, own.loras) == (3.0, (Lora(name="glow", weight=0.1),))
    assert read("a boat --model styled --stylize 10").request.loras == ()


def test_a_style_leaves_out_what_its_model_cannot_do():
    request = read("a boat --model flux --stylize 1000").request
    assert request.house == HouseStyle(positive="calm light", negative="", weight=1)
    assert request.loras == ()  # glow is not made for it


def test_stylize_says_so_where_the_model_has_no_style():
    parsed = read("a boat --stylize 300")
    assert parsed.notes == ("`--stylize` changes nothing: `postcard` has no house style.",)
    assert parsed.request.house is None


def test_a_persons_usual_sampler_holds_where_the_model_can_use_it():
    assert read("a boat", sampler="dpmpp_2m").request.sampler == "dpmpp_2m"
    assert read("a boat --model flux", sampler="dpmpp_2m").request.sampler == FLUX.sampler


def test_turbo_is_a_lane():
    assert read("a boat --turbo").lane is Lane.TURBO


def test_a_prompt_of_emoji_or_of_any_script_is_words():
    assert read("🚤").request.prompt == "🚤"
    assert read("красная лодка").request.prompt == "красная лодка"


def test_too_long_prompts_are_refused_with_the_limit():
    assert f"{MAX_TEXT:,}" in wrong("boat " * 400).sentence
    assert f"{MAX_TYPED:,}" in wrong("boat " * 1000).sentence


def test_of_too_many_words_their_own_length_is_said_and_not_that_of_the_parameters_behind():
    text = f"{'boat ' * 300}sea --no {'fog ' * 120}"
    error = wrong(text)
    assert error.sentence == "The prompt's words have 1,503 characters; the limit is 1,500."
    assert (error.prompt, text[error.mistakes[0].start :].startswith("sea")) == (text, True)


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
    with_style = "" if parameter.name == "model" else "--model styled"
    assert read(f"a boat {with_style} {parameter.example}").ignored == ()


_TYPED = st.lists(
    st.one_of(
        st.sampled_from([*(f"--{name}" for name in (*BY_NAME, *IGNORED)), "—ar", "--", "---", "--=", "--,", "—"]),
        st.sampled_from(["16:9", "1", "-1", "1e9", ".5", "0", "99999999999999", "٣", "euler", ",", "::", "=", "\n"]),
        st.sampled_from(
            ["<lora:", "ink", ":0.5>", "(red:1.3)", "(", ":1.2)", "\\(", "－－ar", "−", "—", "ー", "：", "７"]
        ),
        st.text(max_size=8),
    ),
    max_size=12,
).flatmap(lambda parts: st.sampled_from([" ".join(parts), "".join(parts)]))


@given(_TYPED)
@example("--")
@example("a --no ,")
def test_any_text_parses_or_is_refused_at_a_place_inside_it(text):
    for model in (POSTCARD, SD15, FLUX):
        choices = Choices(default=model.name, models={model.name: model}, loras=CHOICES.loras)
        try:
            request = parse(text, choices=choices, defaults=Defaults(), seed=1).request
        except PromptError as error:
            for mistake in error.mistakes:
                assert 0 <= mistake.start <= len(text)
                assert text[mistake.start : mistake.start + len(mistake.word)] == mistake.word
            assert error.sentence and error.prompt == text and error.corrected() is not None
        else:
            assert request.width % model.multiple == 0 and request.height % model.multiple == 0
            assert 1 <= request.steps <= 100 and 1 <= request.count <= 4 and request.prompt


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("a boat --size 512", "--ar"),
        ("a boat --ratioo 3:2", "--ar"),
        ("a boat --neg fog", "--no"),
        ("a boat -ar 3:2", "--ar"),
    ],
)
def test_what_other_programs_call_it_and_one_hyphen_lead_to_the_right_name(text, cure):
    assert cure in wrong(text).sentence


@pytest.mark.parametrize("text", ["a boat --widht 512", "a boat --wierdo 3"])
def test_a_hint_never_leads_to_a_parameter_that_does_nothing(text):
    assert not any(f"`--{name}`" in wrong(text).sentence for name in IGNORED)


@pytest.mark.parametrize("name", ["upscale", "info", "remix", "vary", "strong", "subtle", "color", "rescale", "dark"])
def test_a_word_of_another_meaning_is_taken_for_no_parameter(name):
    assert wrong(f"a boat --{name} 2").sentence == f"`--{name}` is not a parameter here. `/help` lists them all."


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("sed", "seed"),
        ("stpes", "steps"),
        ("guidence", "cfg"),
        ("scal", "cfg"),
        ("picture", "count"),
        ("ratoi", "ar"),
        ("cgf", "cfg"),
    ],
)
def test_a_name_that_is_spelled_wrong_leads_to_the_right_one(name, meant):
    assert f"Did you mean `--{meant}`?" in wrong(f"a boat --{name} 2").sentence


def test_words_behind_a_parameter_that_is_passed_over_are_refused_unless_all_of_them_belong_to_it():
    assert "in the sea" in wrong("a boat --niji 6 in the sea").sentence
    parsed = read("a boat --sref one two")
    assert (parsed.request.prompt, parsed.ignored, parsed.unread) == ("a boat", ("--sref",), ("one two",))


def test_a_long_dash_before_a_word_that_is_no_parameter_is_a_dash():
    assert read("a castle —in the sky").request.prompt == "a castle —in the sky"
    assert "`--aspect`" in wrong("a castle —aspekt 3:2").sentence or "`--ar`" in wrong("a castle —aspekt 3:2").sentence
