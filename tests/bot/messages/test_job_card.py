"""What a job's message says and offers in every state."""

import dataclasses
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bot.event_bus import Status, WorkerState
from bot.messages import JobButton, JobCards, JobView
from bot.messages.grid_image import ENCODINGS, encode
from bot.messages.job_card import PAUSED
from bot.scheduling import OTHER_MODEL
from bot.scheduling.job_runner import INCOMPLETE, MISTAKE
from bot.scheduling.render_stages import LOST_MODEL
from bot.text import (
    code_block,
    first_of,
    from_code_block,
    gpu_time,
    harmless,
    minutes,
    place_in_line,
    sentence,
    settings,
)
from cogs import crop, job_buttons, job_info, more, upscale, vary
from cogs.job_info import info_card
from core.canvas import zoom_out
from core.edits import STRONG, SUBTLE, USUAL
from core.job import Canvas, Input, Kind, Lane, Lora, MadeWith, Role, Source, State, Upscale
from storage.jobs import POISON, UNPREPARED
from tests.harness.bot_samples import NOW, a_job, a_request

BUTTONS = (*job_buttons.BUTTONS, *crop.BUTTONS, *vary.BUTTONS, *upscale.BUTTONS, *more.BUTTONS, *job_info.BUTTONS)
CARDS = JobCards(BUTTONS)


def state_line(job, **view):
    return CARDS.render(JobView(job=job, **view)).content.splitlines()[-1]


def labels(card):
    return [[button.label or button.emoji for button in row] for row in card.rows]


def test_a_waiting_job_says_its_place_and_when_it_starts():
    assert state_line(a_job(), place=3, starts_at=NOW + 40) == "Third in line · starts <t:1040:R>"
    assert state_line(a_job(), place=1) == "Next in line"


def test_a_moment_that_would_soon_be_past_is_said_in_words():
    assert state_line(a_job(), place=1, starts_at=NOW + 10, now=NOW) == "Next in line · starts soon"
    assert state_line(a_job(), place=1, starts_at=NOW + 30, now=NOW) == "Next in line · starts <t:1030:R>"
    job = a_job(state=State.RUNNING, attempt=1)
    assert state_line(job, fraction=0.9, ends_at=NOW + 2, now=NOW) == "90 % · done in a moment"
    assert state_line(job, fraction=0.5, ends_at=NOW + 10, now=NOW) == "50 % · done <t:1010:R>"


def test_an_estimate_that_hardly_moved_looks_the_same():
    assert state_line(a_job(), place=3, starts_at=NOW + 40) == state_line(a_job(), place=3, starts_at=NOW + 41.4)


@pytest.mark.parametrize(
    ("worker", "said"),
    [
        (WorkerState(status=Status.AWAY, paused=False, since=NOW), "the GPU went offline <t:1000:R>"),
        (WorkerState(status=Status.LOADING, paused=False, since=NOW), "the model is loading"),
        (WorkerState(status=Status.ONLINE, paused=True, since=NOW), "the GPU is paused"),
    ],
)
def test_a_waiting_job_says_why_nothing_moves(worker, said):
    assert state_line(a_job(), place=2, worker=worker, starts_at=NOW) == f"Second in line · {said}"


def test_at_a_stop_a_waiting_job_says_that_it_goes_on_after_it():
    worker = WorkerState(status=Status.AWAY, paused=False, since=NOW, stopping=True)
    said = state_line(a_job(attempt=1), place=2, worker=worker)
    assert said == "In line · Darkroom is restarting, then this continues by itself"


def test_a_paused_job_says_so_in_a_small_line_and_how_far_it_is():
    job = a_job(state=State.RUNNING, attempt=1, lane=Lane.RELAX)
    said = CARDS.render(JobView(job=job, fraction=0.5, ends_at=NOW + 60, paused=True)).content.splitlines()[-2:]
    assert said == ["50 % · done <t:1060:R>", PAUSED]
    assert PAUSED.startswith("-# Paused")


def test_a_running_job_says_its_share_and_when_it_is_done():
    job = a_job(state=State.RUNNING, attempt=1)
    assert state_line(job) == "Starting"
    assert state_line(job, fraction=0.314, ends_at=NOW + 10) == "31 % · done <t:1010:R>"
    assert state_line(job, fraction=1.0) == "99 %"


def test_a_job_that_was_put_back_says_that_it_starts_again():
    assert "will start again" in state_line(a_job(attempt=1), place=1)


def test_ends_are_said_with_what_they_cost():
    failed = CARDS.render(JobView(job=a_job(state=State.FAILED, failure="It does not fit."))).content
    assert "Not made: It does not fit." in failed and "Nothing was charged" in failed
    assert state_line(a_job(state=State.CANCELLED)) == "Cancelled."


@pytest.mark.parametrize("reason", [POISON, UNPREPARED, INCOMPLETE, MISTAKE, LOST_MODEL, OTHER_MODEL, None])
def test_a_failure_says_once_that_it_was_free_whatever_its_reason(reason):
    card = CARDS.render(JobView(job=a_job(state=State.FAILED, failure=reason)))
    assert card.content.casefold().count("charged") == 1


def test_buttons_follow_the_state_and_the_number_of_pictures():
    assert labels(CARDS.render(JobView(job=a_job()))) == [["Cancel"]]
    assert labels(CARDS.render(JobView(job=a_job(state=State.FAILED)))) == [["🔄", "ⓘ"]]
    done = a_job(state=State.DONE, request=a_request(count=3))
    assert labels(CARDS.render(JobView(job=done))) == [["U1", "U2", "U3", "🔄"], ["V1", "V2", "V3", "ⓘ"]]


@pytest.mark.parametrize(("kind", "shown"), [(Kind.CROP, "grid:{}:2"), (Kind.UPSCALE, "mine:{}:0")])
def test_the_buttons_below_a_single_picture_name_the_job_that_has_the_picture(kind, shown):
    single = a_job(id="mine", kind=kind, state=State.DONE, source=Source(job="grid", index=2))
    ids = [[str(button.id) for button in row] for row in CARDS.render(JobView(job=single)).rows]
    verbs = (("upscale", "vary-subtle", "vary-strong"), ("more",))
    about = [[f"job:{shown.format(verb)}" for verb in row] for row in verbs]
    assert ids == [about[0], [*about[1], "job:mine:info"]]


def test_a_row_that_could_not_hold_its_buttons_is_refused_when_they_are_declared():
    wide = JobButton(verb="wide", states=frozenset({State.DONE}), row=0, label="Wide")
    with pytest.raises(ValueError, match=r"Row 0 of a .* that is done has no room for all of: u, wide, again\."):
        CARDS.add(wide)
    JobCards((*BUTTONS, dataclasses.replace(wide, row=2)))
    with pytest.raises(ValueError, match="Row 5"):
        CARDS.add(dataclasses.replace(wide, row=5))


SOURCE = Source(job="grid", index=1)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (Kind.CROP, {}, "picture 2"),
        (Kind.VARIATION, {"strength": USUAL}, "near picture 2"),
        (Kind.VARIATION, {"strength": SUBTLE}, "near picture 2, subtly"),
        (Kind.VARIATION, {"strength": STRONG}, "near picture 2, strongly"),
        (Kind.UPSCALE, {"upscale": Upscale(factor=2)}, "picture 2, 2× as large"),
        (Kind.UPSCALE, {"upscale": Upscale(factor=4, creative=True)}, "picture 2, 4× as large, redrawn"),
        (Kind.EDIT, {"canvas": zoom_out((256, 256), 1.5)[1]}, "picture 2, zoomed out 1.5×"),
        (Kind.EDIT, {"width": 384, "canvas": Canvas(left=128, top=0, width=256, height=256)}, "picture 2, panned left"),
        (Kind.EDIT, {"inputs": (Input(role=Role.MASK, of="x"),)}, "picture 2, a part of it anew"),
    ],
)
def test_a_card_says_what_was_made_of_the_picture(kind, changes, said):
    job = a_job(kind=kind, source=SOURCE, request=a_request(**changes))
    assert CARDS.render(JobView(job=job)).content.startswith(f"**a red boat** · {said} · <@5000>")


def test_what_is_only_made_larger_names_no_steps_and_no_seed():
    request = a_request(width=512, height=512, upscale=Upscale(factor=2))
    assert settings(request) == "512×512"
    assert "20 steps" in settings(a_request(upscale=Upscale(factor=2, creative=True)))


def test_info_names_every_number_and_offers_delete_only_to_who_may():
    job = a_job(kind=Kind.VARIATION, source=Source(job="p", index=0), lane=Lane.RELAX, gpu_ms=2500, charged_ms=0)
    card = info_card(job, "https://discord.com/channels/1/2/3", may_delete=False)
    for part in ("seed 7", "20 steps", "cfg 5", "Euler", "2.5 s of GPU time", "picture 1 of https://discord.com/"):
        assert part in card.content
    assert "charged" not in card.content and card.rows == ()
    assert labels(info_card(job, None, may_delete=True)) == [["Delete"]]


SIGNS = st.text(alphabet="*_~a ", max_size=1500)
LORAS = st.lists(st.builds(Lora, name=st.text(alphabet="_a", min_size=60, max_size=90)), max_size=4).map(tuple)


@given(
    st.text(max_size=1500) | SIGNS,
    st.text(max_size=500) | SIGNS,
    st.lists(st.text(max_size=900), max_size=6).map(tuple),
    LORAS,
    st.text(max_size=3000),
    st.sampled_from(State),
    st.sampled_from(Kind),
)
def test_nothing_makes_a_card_that_discord_would_refuse(prompt, negative, notes, loras, failure, state, kind):
    job = a_job(
        state=state,
        kind=kind,
        request=a_request(prompt=prompt or "x", negative=negative, loras=loras, chaos=100, tile=True, stop=50),
        source=Source(job="abc", index=3),
        notes=notes,
        failure=failure if state is State.FAILED else None,
        made_with=MadeWith(model="_" * 90, digest="d" * 64, dtype="bfloat16", device="_" * 90, engine="1"),
    )
    card = CARDS.render(
        JobView(job=job, place=103, starts_at=NOW, ends_at=NOW, fraction=0.5, paused=True, pictures_kept=False)
    )
    assert card.content.startswith("**") and card.content[2] != "…"
    assert len(card.content) <= 1900  # delivery may add a line
    assert len(card.rows) <= 5 and all(len(row) <= 5 for row in card.rows)
    assert all(len(str(button.id)) <= 100 for row in card.rows for button in row)
    assert len(info_card(job, "https://discord.com/channels/" + "9" * 60, may_delete=True).content) <= 1900


@given(st.text(max_size=300))
def test_a_harmless_prompt_has_no_bare_sign(text):
    shown = harmless(text, 1400)
    bare = shown.replace("\\\\", "")
    for sign in "*_~`|[]<>/":
        bare = bare.replace("\\" + sign, "")
    assert not set(bare) & set("*_~`|[]<>/\\\n\r") and "@everyone" not in shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Leave out `--lora`, or choose another model.", "Leave out `--lora`, or choose another model."),
        ("**Not** made: @everyone, see [here](https://a.example)", r"\*\*Not\*\* made: @\u200beveryone, see \[here\]("),
        ("||spoiler|| <@1> # title\n> quote", r"\|\|spoiler\|\| \<@" + "\u200b" + r"1\> # title \> quote"),
        ("a ` and a ``` b", r"a \` and a \`\`\` b"),
    ],
)  # fmt: skip
def test_what_a_worker_says_of_a_failure_is_shown_as_it_is_and_does_nothing(said, shown):
    shown = shown.replace(r"\u200b", "\u200b")
    card = CARDS.render(JobView(job=a_job(state=State.FAILED, failure=said)))
    assert f"Not made: {shown}" in card.content


@given(st.text(alphabet="`*<@|[ab \n", max_size=60), st.integers(2, 80))
def test_in_a_sentence_of_others_nothing_but_code_has_bare_signs(text, most):
    shown = sentence(text, most)
    assert len(shown) <= most
    bare = re.sub(r"(?<!\\)`[^`]{1,80}`", "", shown).replace("\\\\", "")
    for sign in "*_~`|[]<>/":
        bare = bare.replace("\\" + sign, "")
    assert not set(bare) & set("*`|[]<>\n")


@given(st.text(alphabet="`ab\n", min_size=1, max_size=60))
def test_a_prompt_in_a_code_block_comes_out_as_it_went_in(text):
    block = code_block(text)
    assert "```" not in block[3:-3]
    assert from_code_block(block) == text.strip("\n")


@pytest.mark.parametrize("text", ["`" * 4000, "`" * 3000 + " --bogus", "`a" * 2000])
def test_a_prompt_of_thousands_of_backticks_still_fits_beside_its_refusal(text):
    block = code_block(text)
    assert len(block) <= 4096
    assert from_code_block(block) == text


def test_a_long_list_is_cut_and_counted():
    assert first_of(["a", "b"], 2) == "a, b"
    assert first_of(["a", "b", "c", "d"], 2) == "a, b and 2 more"


def test_small_words():
    assert [place_in_line(n) for n in (1, 2, 10, 11, 12, 21, 22, 23, 101, 112)] == [
        "Next in line",
        "Second in line",
        "Tenth in line",
        "11th in line",
        "12th in line",
        "21st in line",
        "22nd in line",
        "23rd in line",
        "101st in line",
        "112th in line",
    ]
    assert [gpu_time(ms) for ms in (0, 850, 12_000, 240_000, 6_100_000)] == [
        "0.0 s",
        "0.8 s",
        "12 s",
        "4 min",
        "1 h 41 min",
    ]
    assert [minutes(ms) for ms in (0, 30_000, 450_000, 11_999_000)] == ["0", "0.5", "7.5", "199"]


def pictures(count, size=(64, 48)):
    found = []
    for number in range(count):
        out = io.BytesIO()
        Image.effect_noise(size, 60 + number).convert("RGB").save(out, "PNG")
        found.append(out.getvalue())
    return found


@pytest.mark.parametrize(("count", "size"), [(1, (64, 48)), (2, (128, 48)), (3, (192, 48)), (4, (128, 96))])
def test_a_grid_puts_every_picture_in_its_place(count, size):
    parts = pictures(count)
    sheet = Image.open(io.BytesIO(encode(parts, ENCODINGS[0])))
    assert sheet.size == size
    across = size[0] // 64
    for index, part in enumerate(parts):
        x, y = index % across * 64, index // across * 48
        assert sheet.convert("RGB").crop((x, y, x + 64, y + 48)).tobytes() == Image.open(io.BytesIO(part)).tobytes()


def test_a_single_picture_is_posted_byte_for_byte():
    (only,) = pictures(1)
    assert encode([only], ENCODINGS[0]) is only


def test_each_rung_of_the_ladder_opens_and_is_smaller_than_the_one_before():
    sizes = [len(encode(pictures(4, (128, 128)), encoding)) for encoding in ENCODINGS]
    assert sizes == sorted(sizes, reverse=True)
    parts = pictures(4)
    lossless = [Image.open(io.BytesIO(encode(parts, encoding))).convert("RGB").tobytes() for encoding in ENCODINGS[:2]]
    assert lossless[0] == lossless[1]
