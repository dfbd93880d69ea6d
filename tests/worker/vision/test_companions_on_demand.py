"""What lies beside a model is announced from its headers, opened for the first job, and harms nobody when broken."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from core.catalogue import Capability
from core.events import Described, Done, FailureKind, OverheadTime
from core.job import Input, Kind, Role, Upscale
from tests.worker.companions import make_adapter, make_classifier, make_upscaler
from tests.worker.engine_driver import Bed, request
from tests.worker.fake_companions import CPU, SOURCE, STYLE, TWICE, Helper, ask, bed_of, told, with_helpers
from tests.worker.fake_models import paper
from worker import doctor
from worker.checkpoints.loader import Loaded, furnish, load
from worker.settings import read
from worker.transport.inbox import Compiled
from worker.vision import CannotOpen
from worker.vision.companion_paths import Places
from worker.vision.companions import Companion, Known

ALL = {"image_prompt", "style", "character", "upscale", "describe"}


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def places(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """Sound companions for the tiny model."""
    root = tmp_path_factory.mktemp("companions")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    return Places(
        adapter=str(make_adapter(root / "ip", unet)), upscaler=str(make_upscaler(root / "up")),
        classifier=str(make_classifier(root / "words")),
    )  # fmt: skip


def damage(path: Path) -> None:
    """Leaves the header of a file as it is, and no number of its weights."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    path.write_bytes(data[:start] + b"\xff" * (len(data) - start))


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Loaded:
    """The tiny model beside companions whose headers are all that is right of them."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    places = Places(
        adapter=str(make_adapter(tmp_path / "ip", unet)), upscaler=str(make_upscaler(tmp_path / "up")),
        classifier=str(make_classifier(tmp_path / "words")),
    )  # fmt: skip
    for path in tmp_path.rglob("*.safetensors"):
        damage(path)
    return furnish(load(str(folder), CPU), places, CPU)


def test_a_load_reads_headers_alone_and_announces_all_that_they_promise(loaded: Loaded, damaged: Loaded) -> None:
    assert damaged.companions.opened == ()
    assert set(damaged.info.edits) - set(loaded.info.edits) == ALL


def test_jobs_that_need_nothing_beside_the_model_have_nothing_opened(folder: Path, places: Places) -> None:
    bed = Bed(furnish(load(str(folder), CPU), places, CPU))
    bed.render(request(count=1))
    held = bed.shelf.get("tiny")
    assert held is not None and held.companions.opened == ()


def test_the_first_job_has_opened_what_it_needs_and_nothing_else(folder: Path, places: Places) -> None:
    bed = Bed(furnish(load(str(folder), CPU), places, CPU))
    held = bed.shelf.get("tiny")
    assert held is not None
    plain = bed.render(request(count=1), "plain")
    for job, more, there in (
        ("large", {"wish": request(**TWICE), "source": SOURCE}, {Companion.UPSCALER}),
        ("style", {"wish": request(**STYLE), "pictures": (SOURCE,)}, {Companion.UPSCALER, Companion.ADAPTER}),
        ("words", {"wish": request(), "source": SOURCE, "kind": Kind.DESCRIBE}, set(held.companions.known)),
    ):
        bed.render(more.pop("wish"), job, **more)
        assert set(held.companions.opened) == there
    assert bed.render(request(count=1), "again") == plain, "to the last bit, whatever is beside the model by now"
    assert held.memory_mb > held.loaded.memory_mb


@pytest.mark.parametrize(
    ("companion", "order", "lost"),
    [
        (Companion.UPSCALER, {"wish": request(**TWICE), "source": SOURCE}, {"upscale"}),
        (
            Companion.ADAPTER, {"wish": request(**STYLE), "pictures": (SOURCE,)}, {"image_prompt", "style", "character"}
        ),
        (Companion.CLASSIFIER, {"wish": request(), "source": SOURCE, "kind": Kind.DESCRIBE}, {"describe"}),
    ],
)  # fmt: skip
def test_damaged_weights_cost_nothing_are_named_and_what_they_promised_is_withdrawn(
    damaged: Loaded, companion: Companion, order: dict[str, Any], lost: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    bed, order = Bed(damaged), dict(order)
    file = damaged.companions.known[companion].path
    bed.submit("plain", request(count=1))
    bed.submit("a", order.pop("wish"), **order)
    bed.finish("a", "plain")
    failure = bed.failure("a")
    assert failure.kind is FailureKind.INVALID and failure.gpu_ms == 0
    assert (
        f"The {companion} `{file.name}` of `tiny`" in failure.sentence and "fetch that file again" in failure.sentence
    )
    assert failure.sentence.count(". ") == 0 and str(file.parent) not in failure.sentence
    assert str(file) in caplog.text and "Fetch it again" in caplog.text, "the owner is told all"
    assert ALL - told(bed, "tiny") == lost
    assert isinstance(bed.last("plain"), Done), "and nobody else is harmed"
    busy, booked = bed.meter.audit()
    assert busy == booked


def test_the_doctor_opens_each_companion_and_says_which_one_is_broken(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "tiny"))
    make_upscaler(copy / "upscaler")
    damage(make_classifier(copy / "vision") / "model.safetensors")
    assert doctor.report(read(["doctor", "--model", str(copy), "--device", "cpu"], {})) == 0, "a worker works without"
    said = capsys.readouterr().out
    assert f"ok       upscaler {copy / 'upscaler'}" in said
    assert f"WITHOUT  The classifier {copy / 'vision'} cannot be used" in said


def test_a_file_without_all_of_its_weights_is_not_filled_up_at_random(tmp_path: Path, folder: Path) -> None:
    upscaler = make_upscaler(tmp_path / "up")
    weights = load_file(upscaler / "model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, upscaler / "model.safetensors", metadata={"format": "pt"})
    found = furnish(load(str(folder), CPU), Places(upscaler=str(upscaler)), CPU).companions
    with pytest.raises(CannotOpen, match="lacks 1 of its weights"):
        found.open(Companion.UPSCALER)


@pytest.mark.parametrize("cut", [10, 2000])
def test_a_file_that_is_cut_off_is_not_announced_and_named(
    folder: Path, tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    upscaler = make_upscaler(tmp_path / "up")
    file = upscaler / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-cut] if cut < 100 else file.read_bytes()[:cut])
    found = furnish(load(str(folder), CPU), Places(upscaler=str(upscaler)), CPU)
    assert "upscale" not in found.info.edits and "model.safetensors" in caplog.text


# --- loading ----------------------------------------------------------------------------------------------------------


def test_it_opens_in_a_thread_of_its_own_while_others_take_their_steps_and_its_job_pays_nothing_for_it() -> None:
    upscaler = Helper()
    bed, _ = bed_of(with_helpers(paper("one"), upscaler=upscaler))
    bed.engine._steps_beside_loads = True
    upscaler.gate = threading.Event()
    bed.submit("grid", request(model="one", steps=30))
    bed.ticks(2)
    ask(bed, "large", Kind.UPSCALE, **TWICE)
    bed.ticks(6)
    assert bed.shelf.loading == "one"
    task = bed.engine._line.tasks["grid"]
    assert task.step >= 7, "the loop goes on"
    assert bed.meter.job_ms("large") == 0
    upscaler.gate.set()
    bed.finish("large", "grid")
    assert isinstance(bed.last("large"), Done) and upscaler.opened == ["load"]
    busy, booked = bed.meter.audit()
    assert busy == booked


def test_on_a_cpu_nobody_pays_for_the_time_that_it_takes() -> None:
    describer = Helper()
    bed, _ = bed_of(with_helpers(paper("one"), describer=describer))
    ask(bed, "a", Kind.DESCRIBE)
    bed.finish("a")
    assert isinstance(bed.last("a"), Done)
    assert "load" in {event.cause for event in bed.events if isinstance(event, OverheadTime)}


def test_one_that_fails_is_not_tried_again_and_not_when_its_model_is_loaded_anew() -> None:
    upscaler = Helper()
    upscaler.errors = [RuntimeError("insides")]
    make = lambda: with_helpers(paper("one"), upscaler=upscaler)  # noqa: E731
    bed, loads = bed_of(make(), one=make)
    ask(bed, "a", Kind.UPSCALE, **TWICE)
    bed.finish("a")
    assert "switched off" in bed.failure("a").sentence and "insides" not in bed.failure("a").sentence
    ask(bed, "b", Kind.UPSCALE, **TWICE)
    bed.finish("b")
    assert "no upscaler beside this model" in bed.failure("b").sentence
    bed.shelf.shed(())
    ask(bed, "c", Kind.UPSCALE, **TWICE)
    bed.finish("c")
    assert loads.asked == ["one"] and len(upscaler.opened) == 1 and "upscale" not in told(bed)


def test_other_files_in_its_place_are_tried() -> None:
    upscaler = Helper()
    upscaler.errors = [RuntimeError("insides")]
    make = lambda: with_helpers(paper("one"), upscaler=upscaler)  # noqa: E731
    bed, loads = bed_of(make(), one=make)
    ask(bed, "a", Kind.UPSCALE, **TWICE)
    bed.finish("a")
    loads.current = lambda _: False
    bed.engine.inbox.put(Compiled())  # so that the loop takes a turn
    bed.ticks(1)
    loads.current = lambda _: True
    ask(bed, "b", Kind.UPSCALE, **TWICE)
    bed.finish("b")
    assert isinstance(bed.last("b"), Done) and "upscale" in told(bed)


def test_a_job_that_can_do_without_goes_on_without() -> None:
    broken = Helper()
    broken.errors = [RuntimeError("insides")] * 2
    bed, _ = bed_of(with_helpers(paper("one"), upscaler=broken, adapter=broken))
    fine = {**TWICE, "upscale": Upscale(factor=2, creative=True), "strength": 0.5}
    ask(bed, "large", Kind.UPSCALE, **fine)
    ask(bed, "near", inputs=(Input(role=Role.PROMPT, of="a/0"),), count=1)
    bed.finish("large", "near")
    assert isinstance(bed.last("large"), Done) and isinstance(bed.last("near"), Done)
    assert told(bed) == {"variation"}


def test_a_classifier_describes_when_the_describer_does_not_open() -> None:
    describer, classifier = Helper(), Helper()
    describer.errors = [RuntimeError("insides")]
    classifier.labels = ("thing:boat",)  # type: ignore[attr-defined]
    classifier.scores = lambda pixels: {"thing:boat": 1.0}  # type: ignore[attr-defined]
    one = with_helpers(paper("one"), describer=describer)
    more = Known(path=Path("labels"), edits=(Capability.DESCRIBE,), memory_mb=1, open=classifier.open)
    one.companions.known = {**one.companions.known, Companion.CLASSIFIER: more}
    bed, _ = bed_of(one)
    ask(bed, "a", Kind.DESCRIBE)
    bed.finish("a")
    words = next(event.words for event in bed.of("a") if isinstance(event, Described))
    assert "boat" in words[0] and "describe" in told(bed)
