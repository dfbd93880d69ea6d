"""Frames: what goes in comes out, however the bytes arrive; what is no frame is refused."""

import io
import json
import random
import struct
from dataclasses import fields, is_dataclass, replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core import events, wire
from core.errors import FrameError
from core.job import Canvas, HouseStyle, Input, Lora, MadeWith, Request, Role, Upscale

REQUEST = Request(prompt="a red boat 🚤", negative="fog", width=256, height=320, seed=2**32 - 1, steps=20, guidance=4.5,
                  sampler="euler_a", count=4, stop=80, strength=0.6, model="postcard", chaos=7, tile=True,
                  loras=(Lora(name="ink", weight=0.5),), house=HouseStyle(positive="calm", weight=0.3),
                  inputs=(Input(role=Role.STYLE, of="a/1", weight=2.0), Input(role=Role.MASK, of="b/0")),
                  canvas=Canvas(left=0, top=8, width=64, height=64), upscale=Upscale(factor=2))  # fmt: skip
MADE = MadeWith(model="postcard", digest="abc", dtype="float32", device="cpu", engine="1")
MODEL = events.ModelInfo(name="postcard", family="sd", digest="abc", dtype="float32", native=256, multiple=8, steps=20,
                         guidance=4.0, sampler="euler", samplers=("euler", "dpmpp_2m"))  # fmt: skip
PLACE = events.ModelPlace(name="postcard", where="/models/postcard", family="sd1", native=256, sizes=((256, 256),),
                          steps=20, sampler="euler", memory_mb=500, upscaler="/models/x2", stamp="0a1b")  # fmt: skip
MESSAGES = [
    events.Hello(protocol=1, version="0.1", proof="ff", name="w", pid=7, device="cpu", memory_mb=2048, max_rows=8),
    events.Ready(model=MODEL, load_ms=1200),
    events.LoadFailed(sentence="There is no model in that folder."),
    events.Heartbeat(phase=events.Phase.STEPPING, phase_seconds=0.25, jobs=(("a", 1), ("b", 2)), computing=("a",)),
    events.Heartbeat(phase=events.Phase.IDLE, phase_seconds=0),
    events.OverheadTime(cause="preview", gpu_ms=3),
    events.Started(job="a", attempt=1, made_with=MADE),
    events.Progress(job="a", attempt=1, step=3, steps=20, gpu_ms=40, preview=b"\xff\xd8jpeg"),
    events.Picture(job="a", attempt=1, index=3, width=64, height=64, png=b"\x89PNG" * 1000),
    events.Done(job="a", attempt=1, gpu_ms=812),
    events.Failed(job="a", attempt=1, kind=events.FailureKind.OUT_OF_MEMORY, sentence="Too large.", gpu_ms=1),
    events.Cancelled(job="a", attempt=1, gpu_ms=5),
    events.Challenge(protocol=1, nonce="00"),
    events.Welcome(worker="w1"),
    events.Catalogue(
        default="postcard",
        models=(PLACE, events.ModelPlace(name="xl", where="owner/xl", guidance=0.0)),
        loras=(events.LoraPlace(name="ink", where="/loras/ink.safetensors", shape="sd1"),),
    ),
    events.Submit(job="a", attempt=2, request=REQUEST, indices=(0, 2), previews=False, source=b"png"),
    events.Submit(job="a", attempt=2, request=REQUEST, indices=(0,), source=b"png", pictures=(b"style", b"", b"mask")),
    events.Pause(job="a", attempt=2),
    events.Resume(job="a", attempt=2),
    events.Described(job="a", attempt=2, words=("a red boat", "a boat at sea")),
    events.Models(loaded=("postcard",), known=(MODEL,)),
    events.Cancel(job="a", attempt=2),
    events.Shutdown(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_out_as_it_went_in(message):
    assert list(wire.Splitter().feed(wire.encode(message))) == [message]


def test_every_kind_of_message_was_tried():
    assert {type(message) for message in MESSAGES} == set(get_args(events.Message))


@given(st.lists(st.sampled_from(MESSAGES), max_size=6), st.lists(st.integers(1, 997), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_however_the_chunks_fall_the_messages_are_the_same(messages, sizes):
    stream, splitter, heard, at, turn = b"".join(map(wire.encode, messages)), wire.Splitter(), [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        heard += splitter.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert heard == messages


def test_a_type_of_a_newer_program_is_skipped_and_the_next_message_is_heard():
    head = json.dumps({"type": "Teleport", "to": "moon"}).encode()
    frame = wire.PREFIX.pack(wire.MAGIC, events.PROTOCOL, 0, len(head), 3) + head + b"abc"
    assert list(wire.Splitter().feed(frame + wire.encode(events.Shutdown()))) == [events.Shutdown()]


def test_a_field_of_a_newer_program_is_ignored_and_one_with_a_default_may_be_missing():
    header = {"type": "Heartbeat", "phase": "idle", "phase_seconds": 1, "mood": "fine"}
    assert wire.decode(json.dumps(header).encode(), b"") == events.Heartbeat(phase=events.Phase.IDLE, phase_seconds=1.0)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff\xfe",
        b'{"no": "type"}',
        b'{"type": ["Done"]}',
        b'{"type": "Done"}',
        b'{"type": "Done", "job": 5, "attempt": 1, "gpu_ms": 1}',
        b'{"type": "Done", "job": "a", "attempt": true, "gpu_ms": 1}',
        b'{"type": "Done", "job": "a", "attempt": 1.5, "gpu_ms": 1}',
        b'{"type": "Done", "job": "a", "attempt": null, "gpu_ms": 1}',
        b'{"type": "Heartbeat", "phase": "dancing", "phase_seconds": 1}',
        b'{"type": "Heartbeat", "phase": "idle", "phase_seconds": "long"}',
        b'{"type": "Heartbeat", "phase": "idle", "phase_seconds": 1, "jobs": [["a"]]}',
        b'{"type": "Heartbeat", "phase": "idle", "phase_seconds": 1, "jobs": "ab"}',
        b'{"type": "Submit", "job": "a", "attempt": 1, "indices": [0], "request": {"prompt": "a"}}',
        b'{"type": "Submit", "job": "a", "attempt": 1, "indices": [0], "request": "a cat"}',
        b'{"type": "Picture", "job": "a", "attempt": 1, "index": 0, "width": 8, "height": 8, "png": 5}',
        b'{"type": "Picture", "job": "a", "attempt": 1, "index": 0, "width": 8, "height": 8, "png": -1}',
        b'{"type": "Picture", "job": "a", "attempt": 1, "index": 0, "width": 8, "height": 8, "png": true}',
        b'{"type": ' + b"[" * 100_000,
    ],
)
def test_a_header_that_is_not_what_it_says_is_refused_with_a_sentence(header):
    with pytest.raises(FrameError, match=r"could not be read.*same version"):
        wire.decode(header, b"")


def told(message, **changes):
    """A message's header with other values in it, as a hostile program writes it."""
    frame = wire.encode(message)
    head, _ = wire.lengths(frame[: wire.PREFIX.size])
    header = json.loads(frame[wire.PREFIX.size : wire.PREFIX.size + head])
    for path, value in changes.items():
        *outer, last = path.split("__")
        place = header
        for key in outer:
            place = place[key]
        place[last] = value
    return json.dumps(header).encode()


HELLO, READY, BEAT = MESSAGES[0], MESSAGES[1], MESSAGES[3]
STARTED, PROGRESS, PICTURE = MESSAGES[6], MESSAGES[7], MESSAGES[8]
HUGE, NAN, HALF = 10**400, float("nan"), "\ud800"


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        (HELLO, {"name": HALF}),
        (HELLO, {"device": "a\ncard"}),
        (HELLO, {"proof": "f" * 1000}),
        (HELLO, {"pid": -1}),
        (HELLO, {"max_rows": 10**9}),
        (HELLO, {"memory_mb": HUGE}),
        (READY, {"model__name": HALF}),
        (READY, {"model__name": ""}),
        (READY, {"model__name": "x" * 300}),
        (READY, {"model__name": "\x1b[2J"}),
        (READY, {"model__name": "a`b"}),
        (READY, {"model__name": "@everyone"}),
        (READY, {"model__samplers": ["**bold**"]}),
        (READY, {"model__steps": HUGE}),
        (READY, {"model__steps": 0}),
        (READY, {"model__native": -1}),
        (READY, {"model__multiple": 1 << 40}),
        (READY, {"model__guidance": NAN}),
        (READY, {"model__guidance": float("inf")}),
        (READY, {"model__guidance": HUGE}),
        (READY, {"model__samplers": [HALF]}),
        (READY, {"model__samplers": ["euler"] * 1000}),
        (READY, {"model__edits": ["one\nline"]}),
        (READY, {"load_ms": HUGE}),
        (BEAT, {"phase_seconds": NAN}),
        (BEAT, {"phase_seconds": -1}),
        (BEAT, {"busy_ms": HUGE}),
        (BEAT, {"jobs": [["a", HUGE]]}),
        (BEAT, {"jobs": [[HALF, 1]]}),
        (BEAT, {"computing": ["a"] * 20_000}),
        (STARTED, {"attempt": -1}),
        (STARTED, {"made_with__digest": HALF}),
        (STARTED, {"made_with__device": "a\x00card"}),
        (STARTED, {"made_with__engine": "9" * 1000}),
        (PROGRESS, {"step": HUGE}),
        (PROGRESS, {"steps": -1}),
        (PROGRESS, {"gpu_ms": -1}),
        (PICTURE, {"index": HUGE}),
        (PICTURE, {"width": 0}),
        (PICTURE, {"height": 1 << 20}),
        (MESSAGES[10], {"sentence": HALF}),
        (MESSAGES[10], {"sentence": "two\nlines"}),
        (MESSAGES[10], {"sentence": "x" * 100_000}),
        (MESSAGES[10], {"gpu_ms": 10**15}),
        (events.Described(job="a", attempt=1, words=("a",)), {"words": ["a"] * 100}),
        (events.Described(job="a", attempt=1, words=("a",)), {"words": [HALF]}),
        (events.Models(loaded=("a",), known=()), {"loaded": ["a\u2028b"]}),
        (events.OverheadTime(cause="load", gpu_ms=1), {"cause": HALF}),
        (events.Submit(job="a", attempt=1, request=REQUEST, indices=(0,)), {"request__guidance": NAN}),
        (events.Submit(job="a", attempt=1, request=REQUEST, indices=(0,)), {"request__prompt": HALF}),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, dict) else "-".join(value),
)
def test_a_value_that_no_program_of_ours_says_is_refused_with_a_sentence(message, changes):
    header = told(message, **changes)
    length = header and len(wire.encode(message)) - wire.PREFIX.size
    with pytest.raises(FrameError, match=r"could not be read") as caught:
        wire.decode(header, bytes(length))
    assert len(caught.value.sentence) < 500 and caught.value.sentence.isprintable()


def test_a_prompt_may_have_several_lines_and_a_catalogue_many_loras():
    order = events.Submit(job="a", attempt=1, request=replace(REQUEST, prompt="a boat\non\tthe sea"), indices=(0,))
    many = tuple(events.LoraPlace(name=f"lora-{n}", where=f"/loras/lora-{n}.safetensors") for n in range(20_000))
    catalogue = events.Catalogue(default="postcard", models=(PLACE,), loras=many)
    assert list(wire.Splitter().feed(wire.encode(order) + wire.encode(catalogue))) == [order, catalogue]


def test_words_for_people_are_made_to_fit_before_they_are_sent():
    told = events.Failed(job="a", attempt=1, kind=events.FailureKind.ERROR, gpu_ms=1,
                         sentence="No file\n  \udcff here\x1b[2J, " + "x" * 5000)  # fmt: skip
    (heard,) = wire.Splitter().feed(wire.encode(told))
    assert heard.sentence.startswith("No file \ufffd here[2J, xxx") and len(heard.sentence) == 2000


def test_no_more_bytes_are_waited_for_than_an_announced_picture_can_have():
    frame = wire.encode(events.Picture(job="a", attempt=1, index=0, width=64, height=64, png=bytes(1 << 20)))
    with pytest.raises(FrameError, match=r"1048576 bytes follow a Picture, which can have 82\d\d\d at most"):
        list(wire.Splitter().feed(frame[:300]))
    large = wire.encode(events.Picture(job="a", attempt=1, index=0, width=16000, height=16000, png=b""))
    with pytest.raises(FrameError, match="16000×16000 pixels is too large"):
        list(wire.Splitter().feed(large))
    with pytest.raises(FrameError, match="follow a Done"):
        head = json.dumps({"type": "Done", "job": "a", "attempt": 1, "gpu_ms": 1}).encode()
        list(wire.Splitter().feed(wire.PREFIX.pack(wire.MAGIC, events.PROTOCOL, 0, len(head), 1 << 27) + head))


@pytest.mark.parametrize("size", [(64, 64), (1024, 1024), (1, 4096), (4096, 1)])
def test_a_picture_that_cannot_be_made_smaller_has_no_more_bytes_than_are_allowed(size):
    file = io.BytesIO()
    Image.frombytes("RGBA", size, random.Random(1).randbytes(4 * size[0] * size[1])).save(file, "PNG", compress_level=1)
    picture = events.Picture(job="a", attempt=1, index=0, width=size[0], height=size[1], png=file.getvalue())
    assert list(wire.Splitter().feed(wire.encode(picture))) == [picture]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(HUGE)
    | st.floats()
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(MESSAGES), st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_stands_in_a_field_it_is_a_message_or_refused(message, data):
    frame = wire.encode(message)
    head, _ = wire.lengths(frame[: wire.PREFIX.size], wire.MAX_ORDER_HEADER)
    header = json.loads(frame[wire.PREFIX.size : wire.PREFIX.size + head])
    field = data.draw(st.sampled_from(sorted(header)))
    header[field] = data.draw(JSON)
    try:
        read = wire.decode(json.dumps(header).encode(), frame[wire.PREFIX.size + head :])
    except FrameError:
        return
    if read is not None:
        assert list(wire.Splitter().feed(wire.encode(read))) == [read]


@pytest.mark.parametrize(
    ("prefix", "sentence"),
    [
        (struct.pack(">2sBBII", b"HT", 1, 0, 1, 1), "does not speak"),
        (struct.pack(">2sBBII", b"DR", 9, 0, 1, 1), "another version"),
        (struct.pack(">2sBBII", b"DR", events.PROTOCOL, 0, wire.MAX_ORDER_HEADER + 1, 0), "larger"),
        (struct.pack(">2sBBII", b"DR", events.PROTOCOL, 0, 2, wire.MAX_BODY + 1), "larger"),
    ],
)
def test_a_stream_that_is_not_ours_is_refused_at_its_first_bytes(prefix, sentence):
    with pytest.raises(FrameError, match=sentence):
        list(wire.Splitter().feed(prefix))


@given(st.binary(max_size=64))
@settings(max_examples=60, deadline=None)
def test_noise_is_refused_or_waited_for_but_never_anything_else(noise):
    try:
        assert list(wire.Splitter().feed(noise)) == []
    except FrameError:
        pass


def test_pictures_and_previews_are_the_body_and_never_in_the_header():
    picture = events.Picture(job="a", attempt=1, index=0, width=8, height=8, png=b"PIXELS")
    frame = wire.encode(picture)
    head, body = wire.lengths(frame[: wire.PREFIX.size])
    assert b"PIXELS" not in frame[wire.PREFIX.size : wire.PREFIX.size + head]
    assert body == 6


def test_no_message_has_two_fields_of_bytes_for_a_frame_has_one_body():
    for cls in get_args(events.Message):
        assert is_dataclass(cls)
        assert sum(field.type is bytes for field in fields(cls)) <= 1


def test_bytes_are_not_spilled_into_logs():
    assert "PIXELS" not in repr(events.Picture(job="a", attempt=1, index=0, width=8, height=8, png=b"PIXELS"))
