"""What lies beside a model is announced from its headers, opened for the first job, and harms nobody when broken."""

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from core.catalogue import Capability
from core.events import Described, Done, FailureKind, OverheadTime
from core.job import Input, Kind, Role, Upscale
from tests.worker.companions import make_adapter, make_classifier, make_upscaler
from tests.worker.engine_driver import EngineDriver, request
from tests.worker.fake_companions import CPU, SOURCE, STYLE, TWICE, FakeCompanion, ask, driver_of, told, with_companions
from tests.worker.fake_models import fake_model
from worker import doctor
from worker.checkpoints import LoadedCheckpoint, load
from worker.checkpoints.loader import add_companions
from worker.errors import CannotOpen
from worker.settings import read
from worker.transport import Compiled
from worker.vision import CompanionKind, CompanionPaths
from worker.vision.companions import KnownCompanion

ALL = {"image_prompt", "style", "character", "upscale", "describe"}


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def places(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> CompanionPaths:
    """Sound companions for the tiny model."""
    root = tmp_path_factory.mktemp("companions")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    return CompanionPaths(
        adapter=str(make_adapter(root / "ip", unet)), upscaler=str(make_upscaler(root / "up")),
        classifier=str(make_classifier(root / "words")),
    )  # fmt: skip


def damage(path: Path) -> None:
    """Leaves the header of a file as it is, and no number of its weights."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    path.write_bytes(data[:start] + b"\xff" * (len(data) - start))


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> LoadedCheckpoint:
    """The tiny model beside companions whose headers are all that is right of them."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    places = CompanionPaths(
        adapter=str(make_adapter(tmp_path / "ip", unet)), upscaler=str(make_upscaler(tmp_path / "up")),
        classifier=str(make_classifier(tmp_path / "words")),
    )  # fmt: skip
    for path in tmp_path.rglob("*.safetensors"):
        damage(path)
    return add_companions(load(str(folder), CPU), places, CPU)


def test_a_load_reads_headers_alone_and_announces_all_that_they_promise(
    loaded: LoadedCheckpoint, damaged: LoadedCheckpoint
) -> None:
    assert damaged.companions.kinds_in_memory == ()
    assert set(damaged.info.edits) - set(loaded.info.edits) == ALL


def test_jobs_that_need_nothing_beside_the_model_have_nothing_opened(folder: Path, places: CompanionPaths) -> None:
    driver = EngineDriver(add_companions(load(str(folder), CPU), places, CPU))
    driver.render(request(count=1))
    model = driver.cache.get("tiny")
    assert model is not None and model.companions.kinds_in_memory == ()


def test_the_first_job_has_opened_what_it_needs_and_nothing_else(folder: Path, places: CompanionPaths) -> None:
    driver = EngineDriver(add_companions(load(str(folder), CPU), places, CPU))
    model = driver.cache.get("tiny")
    assert model is not None
    plain = driver.render(request(count=1), "plain")
    for job, more, there in (
        ("large", {"request": request(**TWICE), "source": SOURCE}, {CompanionKind.UPSCALER}),
        (
            "style",
            {"request": request(**STYLE), "pictures": (SOURCE,)},
            {CompanionKind.UPSCALER, CompanionKind.ADAPTER},
        ),
        ("words", {"request": request(), "source": SOURCE, "kind": Kind.DESCRIBE}, set(model.companions.known)),
    ):
        driver.render(more.pop("request"), job, **more)
        assert set(model.companions.kinds_in_memory) == there
    assert driver.render(request(count=1), "again") == plain, "to the last bit, whatever is beside the model by now"
    assert model.memory_mb > model.loaded.memory_mb


@pytest.mark.parametrize(
    ("companion", "order", "lost"),
    [
        (CompanionKind.UPSCALER, {"request": request(**TWICE), "source": SOURCE}, {"upscale"}),
        (
            CompanionKind.ADAPTER, {"request": request(**STYLE), "pictures": (SOURCE,)},
            {"image_prompt", "style", "character"},
        ),
        (CompanionKind.CLASSIFIER, {"request": request(), "source": SOURCE, "kind": Kind.DESCRIBE}, {"describe"}),
    ],
)  # fmt: skip
def test_damaged_weights_cost_nothing_are_named_and_what_they_promised_is_withdrawn(
    damaged: LoadedCheckpoint,
    companion: CompanionKind,
    order: dict[str, Any],
    lost: set[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    driver, order = EngineDriver(damaged), dict(order)
    file = damaged.companions.known[companion].path
    driver.submit("plain", request(count=1))
    driver.submit("a", order.pop("request"), **order)
    driver.finish("a", "plain")
    failure = driver.failure("a")
    assert failure.kind is FailureKind.INVALID and failure.gpu_ms == 0
    assert (
        f"The {companion} `{file.name}` of `tiny`" in failure.sentence and "has to be fetched again" in failure.sentence
    )
    assert failure.sentence.count(". ") == 0 and str(file.parent) not in failure.sentence
    assert str(file) in caplog.text and "Fetch it again" in caplog.text, "the owner is told all"
    assert ALL - told(driver, "tiny") == lost
    assert isinstance(driver.last("plain"), Done), "and nobody else is harmed"
    busy, booked = driver.meter.audit()
    assert busy == booked


def test_the_doctor_opens_each_companion_and_says_which_one_is_broken(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "tiny"))
    make_upscaler(copy / "upscaler")
    damage(make_classifier(copy / "vision") / "model.safetensors")
    monkeypatch.setattr("worker.device.configure_torch", lambda *_: None)  # it holds for the whole process
    assert doctor.report(read(["doctor", "--model", str(copy), "--device", "cpu"], {})) == 0, "a worker works without"
    said = capsys.readouterr().out
    assert f"ok       upscaler {copy / 'upscaler'}" in said
    assert f"WITHOUT  The classifier {copy / 'vision'} cannot be used" in said


def test_a_file_without_all_of_its_weights_is_not_filled_up_at_random(tmp_path: Path, folder: Path) -> None:
    upscaler = make_upscaler(tmp_path / "up")
    weights = load_file(upscaler / "model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, upscaler / "model.safetensors", metadata={"format": "pt"})
    found = add_companions(load(str(folder), CPU), CompanionPaths(upscaler=str(upscaler)), CPU).companions
    with pytest.raises(CannotOpen, match="lacks 1 of its weights"):
        found.open(CompanionKind.UPSCALER)


@pytest.mark.parametrize("cut", [10, 2000])
def test_a_file_that_is_cut_off_is_not_announced_and_named(
    folder: Path, tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    upscaler = make_upscaler(tmp_path / "up")
    file = upscaler / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-cut] if cut < 100 else file.read_bytes()[:cut])
    found = add_companions(load(str(folder), CPU), CompanionPaths(upscaler=str(upscaler)), CPU)
    assert "upscale" not in found.info.edits and "model.safetensors" in caplog.text


# --- loading ----------------------------------------------------------------------------------------------------------


def test_it_opens_in_a_thread_of_its_own_while_others_take_their_steps_and_its_job_pays_nothing_for_it() -> None:
    upscaler = FakeCompanion()
    driver, _ = driver_of(with_companions(fake_model("one"), upscaler=upscaler))
    driver.engine._steps_beside_loads = True
    upscaler.gate = threading.Event()
    driver.submit("grid", request(model="one", steps=30))
    driver.ticks(2)
    ask(driver, "large", Kind.UPSCALE, **TWICE)
    driver.ticks(6)
    assert driver.cache.loading == "one"
    task = driver.engine._queue.tasks["grid"]
    assert task.step >= 7, "the loop goes on"
    assert driver.meter.job_ms("large") == 0
    upscaler.gate.set()
    driver.finish("large", "grid")
    assert isinstance(driver.last("large"), Done) and upscaler.opened == ["load"]
    busy, booked = driver.meter.audit()
    assert busy == booked


class SlowCompanion(FakeCompanion):
    """It takes whole milliseconds to open, as real ones do: less is told of as rounding."""

    def open(self) -> FakeCompanion:
        until = time.perf_counter_ns() + 2_000_000
        while time.perf_counter_ns() < until:
            pass
        return super().open()


def test_on_a_cpu_nobody_pays_for_the_time_that_it_takes() -> None:
    describer = SlowCompanion()
    driver, _ = driver_of(with_companions(fake_model("one"), describer=describer))
    ask(driver, "a", Kind.DESCRIBE)
    driver.finish("a")
    assert isinstance(driver.last("a"), Done)
    assert "load" in {event.cause for event in driver.events if isinstance(event, OverheadTime)}


def test_one_that_fails_is_not_tried_again_and_not_when_its_model_is_loaded_anew() -> None:
    upscaler = FakeCompanion()
    upscaler.errors = [RuntimeError("insides")]
    make = lambda: with_companions(fake_model("one"), upscaler=upscaler)  # noqa: E731
    driver, loads = driver_of(make(), one=make)
    ask(driver, "a", Kind.UPSCALE, **TWICE)
    driver.finish("a")
    assert "switched off" in driver.failure("a").sentence and "insides" not in driver.failure("a").sentence
    ask(driver, "b", Kind.UPSCALE, **TWICE)
    driver.finish("b")
    assert "This model has no upscaler" in driver.failure("b").sentence
    driver.cache.free_memory(())
    ask(driver, "c", Kind.UPSCALE, **TWICE)
    driver.finish("c")
    assert loads.asked == ["one"] and len(upscaler.opened) == 1 and "upscale" not in told(driver)


def test_other_files_in_its_place_are_tried() -> None:
    upscaler = FakeCompanion()
    upscaler.errors = [RuntimeError("insides")]
    make = lambda: with_companions(fake_model("one"), upscaler=upscaler)  # noqa: E731
    driver, loads = driver_of(make(), one=make)
    ask(driver, "a", Kind.UPSCALE, **TWICE)
    driver.finish("a")
    loads.current = lambda _: False
    driver.engine.inbox.put(Compiled())  # so that the loop takes a turn
    driver.ticks(1)
    loads.current = lambda _: True
    ask(driver, "b", Kind.UPSCALE, **TWICE)
    driver.finish("b")
    assert isinstance(driver.last("b"), Done) and "upscale" in told(driver)


def test_a_job_that_can_do_without_goes_on_without() -> None:
    broken = FakeCompanion()
    broken.errors = [RuntimeError("insides")] * 2
    driver, _ = driver_of(with_companions(fake_model("one"), upscaler=broken, adapter=broken))
    fine = {**TWICE, "upscale": Upscale(factor=2, creative=True), "strength": 0.5}
    ask(driver, "large", Kind.UPSCALE, **fine)
    ask(driver, "near", inputs=(Input(role=Role.PROMPT, of="a/0"),), count=1)
    driver.finish("large", "near")
    assert isinstance(driver.last("large"), Done) and isinstance(driver.last("near"), Done)
    assert told(driver) == {"variation"}


def test_a_classifier_describes_when_the_describer_does_not_open() -> None:
    describer, classifier = FakeCompanion(), FakeCompanion()
    describer.errors = [RuntimeError("insides")]
    classifier.labels = ("thing:boat",)  # type: ignore[attr-defined]
    classifier.scores = lambda pixels: {"thing:boat": 1.0}  # type: ignore[attr-defined]
    one = with_companions(fake_model("one"), describer=describer)
    more = KnownCompanion(path=Path("labels"), edits=(Capability.DESCRIBE,), memory_mb=1, open=classifier.open)
    one.companions.known = {**one.companions.known, CompanionKind.CLASSIFIER: more}
    driver, _ = driver_of(one)
    ask(driver, "a", Kind.DESCRIBE)
    driver.finish("a")
    words = next(event.words for event in driver.of("a") if isinstance(event, Described))
    assert "boat" in words[0] and "describe" in told(driver)
