"""As many models as fit, none gone before its successor is there, and a load that fails changes nothing."""

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from core.events import Catalogue, Models
from tests.worker.fake_models import (
    PATIENCE,
    FakeFamily,
    FakeNetwork,
    FakePipelineModel,
    FakeRun,
    FakeSource,
    fake_model,
)
from worker.checkpoints import LoadedCheckpoint
from worker.compiling import CompiledModel
from worker.compiling.compiled_forward import CompiledForward
from worker.compiling.shape_counts import ShapeCounts
from worker.device import Device, choose_device
from worker.engine import LoadedModel, ModelCache, smoke_test
from worker.engine.loaded_model import smoke_test_side
from worker.engine.model_cache import SUSPEND_SECONDS, LoadResult
from worker.errors import CannotLoad, NoRoom
from worker.interfaces import Adaptation
from worker.memory import ReservedMemory

DEVICE = choose_device("cpu", "float32", 0)
FULL = torch.OutOfMemoryError("CUDA out of memory.")


def out_of_memory() -> CannotLoad:
    """As the loader says it."""
    error = CannotLoad("It does not fit.")
    error.__cause__ = FULL
    return error


class CacheDriver:
    """A cache of 250 MB with some models in it, and what loads others."""

    def __init__(self, *there: Any, **loads: Any) -> None:
        self.loads = FakeSource(**loads)
        self.sizes = self.loads.sizes
        self._arrived = threading.Event()
        self.cache = ModelCache(self.loads, DEVICE, 250)
        self.cache.on_load_ended = self._arrived.set
        for loaded in there:
            self.cache.add(LoadedModel.of(loaded, DEVICE))

    def fetch(self, name: str, *busy: str) -> LoadResult | None:
        """A load from its beginning to its end."""
        assert self.begin(name, *busy)
        return self.end(*busy)

    def begin(self, name: str, *busy: str) -> bool:
        self._arrived.clear()
        return self.cache.start_load(name, busy)

    def end(self, *busy: str) -> LoadResult | None:
        assert self._arrived.wait(PATIENCE)
        return self.cache.finish_load(busy)

    @property
    def there(self) -> tuple[str, ...]:
        return self.cache.models().loaded


def moves(loaded: Any) -> list[str]:
    part = loaded.family.parts["unet"]
    assert isinstance(part, FakeNetwork)
    return part.moves


def test_a_model_that_fits_comes_beside_the_others() -> None:
    one = fake_model("one")
    driver = CacheDriver(one, two=fake_model("two"))
    assert driver.fetch("two") == LoadResult(name="two")
    assert driver.there == ("one", "two") and moves(one) == []


def test_the_one_that_was_not_used_for_longest_goes_and_only_as_many_as_have_to() -> None:
    driver = CacheDriver(fake_model("one"), fake_model("two"), three=fake_model("three", 150))
    driver.sizes["three"] = 150
    assert driver.cache.get("one") is not None
    assert driver.fetch("three") == LoadResult(name="three")
    assert driver.there == ("one", "three")


def test_what_is_offloaded_waits_in_the_hosts_memory_until_the_new_one_has_been_tried_out() -> None:
    one = fake_model("one", 200)
    driver = CacheDriver(one, two=fake_model("two", 200))
    driver.sizes["two"] = 200
    driver.loads.gates["two"] = threading.Event()
    assert driver.begin("two")
    assert driver.cache.loading == "two" and driver.cache.get("one") is None
    driver.loads.gates["two"].set()
    assert driver.end() == LoadResult(name="two")
    assert moves(one) == ["cpu"] and driver.there == ("two",)


def test_whatever_was_ordered_is_done_before_weights_go(monkeypatch: pytest.MonkeyPatch) -> None:
    one = fake_model("one", 200)
    driver = CacheDriver(one, two=fake_model("two", 200))
    driver.sizes["two"] = 200
    there: list[tuple[tuple[str, ...], list[str]]] = []
    for module in ("model_cache", "model_loading"):
        monkeypatch.setattr(
            f"worker.engine.{module}.synchronize", lambda device: there.append((driver.there, list(moves(one))))
        )
    assert driver.fetch("two") == LoadResult(name="two")
    assert there == [((), [])], "on its way out, but where it was"
    assert driver.cache.free_memory(set()) and there[1:] == [(("two",), ["cpu"])]


@pytest.mark.parametrize("error", [CannotLoad("The file is broken."), RuntimeError("insides")], ids=repr)
def test_when_the_new_one_fails_the_old_one_is_back(error: Exception) -> None:
    one = fake_model("one", 200)
    driver = CacheDriver(one, two=error)
    driver.sizes["two"] = 200
    result = driver.fetch("two")
    assert result is not None and result.sentence and "insides" not in result.sentence
    assert driver.there == ("one",) and moves(one) == ["cpu", "cpu"], "away, and back"
    assert driver.cache.get("one") is not None


@pytest.mark.parametrize("broken", ["encode_picture", "encode_prompt", "denoise", "decode", "begin", "advance"])
def test_one_that_cannot_make_a_picture_does_not_take_the_old_ones_place(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise RuntimeError("its weights are of another shape")

    family = FakePipelineModel() if broken in {"begin", "advance"} else FakeFamily()
    driver = CacheDriver(fake_model("one", 200), two=fake_model("two", 200, family=family))
    monkeypatch.setattr(FakeRun if broken == "advance" else type(family), broken, breaks)
    driver.sizes["two"] = 200
    result = driver.fetch("two")
    assert result is not None and "makes no picture (RuntimeError: its weights are of" in result.sentence
    assert driver.there == ("one",)


def test_one_that_finds_no_room_when_it_is_tried_out_is_tried_again_with_more(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = CacheDriver(fake_model("one"), two=fake_model("two"))
    denoise, full = FakeFamily.denoise, iter([FULL])

    def narrow(*given: Any) -> Any:
        for error in full:
            raise error
        return denoise(*given)

    monkeypatch.setattr(FakeFamily, "denoise", narrow)
    assert driver.fetch("two") is None and driver.there == ("one",)
    assert driver.fetch("two") == LoadResult(name="two") and driver.there == ("two",)


def test_one_that_cannot_come_back_is_only_forgotten() -> None:
    driver = CacheDriver(fake_model("one", 200, stuck=True), two=CannotLoad("Broken."))
    driver.sizes["two"] = 200
    assert driver.fetch("two") == LoadResult(name="two", sentence="Broken.")
    assert driver.there == ()


def test_a_model_at_work_never_goes() -> None:
    driver = CacheDriver(fake_model("one"), fake_model("two"), three=fake_model("three", 200))
    driver.sizes["three"] = 200
    assert not driver.begin("three", "one")
    assert driver.there == ("one", "two") and driver.loads.asked == []
    assert driver.fetch("three") == LoadResult(name="three")


def test_one_that_is_larger_than_all_room_gets_the_device_for_itself() -> None:
    driver = CacheDriver(fake_model("one"), fake_model("two"), huge=fake_model("huge", 900))
    driver.sizes["huge"] = 900
    assert not driver.begin("huge", "two")
    assert driver.fetch("huge") == LoadResult(name="huge")
    assert driver.there == ("huge",)


def test_where_nobody_knew_the_size_others_go_after_all() -> None:
    driver = CacheDriver(fake_model("one"), fake_model("two"), three=fake_model("three", 140))
    assert driver.fetch("three", "one") == LoadResult(name="three")
    assert driver.there == ("one", "three")


def test_one_that_found_no_room_is_tried_again_with_all_of_it() -> None:
    answers = iter([out_of_memory(), fake_model("three", 200)])
    driver = CacheDriver(fake_model("one"), fake_model("two"), three=lambda: next(answers))
    assert driver.fetch("three") is None
    assert driver.there == ("one", "two")
    assert not driver.begin("three", "two"), "the next try needs everything"
    assert driver.fetch("three") == LoadResult(name="three")
    assert driver.there == ("three",)


def test_one_that_finds_no_room_even_alone_fails() -> None:
    driver = CacheDriver(fake_model("one"), huge=out_of_memory())
    assert driver.fetch("huge") is None
    assert driver.fetch("huge") == LoadResult(name="huge", sentence="It does not fit.")
    assert driver.there == ("one",)


def test_who_loads_is_told_what_the_others_have_and_will_have() -> None:
    one = fake_model("one")
    driver = CacheDriver(
        replace(one, plan=replace(one.plan, compiled_mb=30)), fake_model("two", 20), three=fake_model("three")
    )
    assert driver.fetch("three") == LoadResult(name="three")
    assert driver.loads.reservations == [ReservedMemory(models=150)]


def test_one_that_would_lie_badly_beside_others_is_tried_again_without_them_and_next_time_at_once() -> None:
    answers = iter([NoRoom("It would stream."), fake_model("three", 20), fake_model("three", 20)])
    driver = CacheDriver(fake_model("one"), two=fake_model("two"), three=lambda: next(answers))
    assert driver.fetch("three") is None and driver.there == ("one",)
    assert not driver.begin("three", "one"), "as soon as nobody needs the other"
    assert driver.fetch("three") == LoadResult(name="three") and driver.there == ("three",)
    driver.cache.free_memory(())
    assert driver.fetch("two") and driver.fetch("three") == LoadResult(name="three")
    assert driver.there == ("three",) and driver.loads.asked.count("three") == 3
    assert driver.loads.reservations[-1] == ReservedMemory()


def test_what_other_programs_take_of_the_device_is_no_room_for_models(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = CacheDriver(fake_model("one"), two=fake_model("two"))
    driver.sizes["two"] = 100
    monkeypatch.setattr("worker.engine.model_cache.other_programs_mb", lambda device: 60)
    assert driver.fetch("two") == LoadResult(name="two")
    assert driver.there == ("two",)


def test_one_loads_at_a_time() -> None:
    driver = CacheDriver(one=fake_model("one"), two=fake_model("two"))
    driver.loads.gates["one"] = threading.Event()
    assert driver.begin("one")
    assert driver.cache.start_load("two", ()) and driver.cache.start_load("one", ())
    driver.loads.gates["one"].set()
    assert driver.end() == LoadResult(name="one")
    assert driver.loads.asked == ["one"]


def test_what_is_there_and_what_was_ever_there_is_told() -> None:
    driver = CacheDriver(fake_model("one", 200), two=fake_model("two", 200))
    driver.sizes["two"] = 200
    driver.fetch("two")
    told = driver.cache.models()
    assert isinstance(told, Models)
    assert told.loaded == ("two",) and [info.name for info in told.known] == ["one", "two"]


def test_when_memory_is_full_the_idle_ones_are_let_go() -> None:
    driver = CacheDriver(fake_model("one"), fake_model("two"))
    assert driver.cache.free_memory({"two"})
    assert driver.there == ("two",)
    assert not driver.cache.free_memory({"two"})


def test_the_device_is_what_they_come_back_to() -> None:
    one = fake_model("one", 200)
    loads = FakeSource(two=CannotLoad("Broken."))
    arrived = threading.Event()
    gpu = Device(torch_device=torch.device("meta"), dtype=torch.float32, memory_mb=1000, max_rows=8, name="a GPU")
    loads.sizes["two"] = 200
    cache = ModelCache(loads, gpu, 250)
    cache.on_load_ended = arrived.set
    cache.add(LoadedModel.of(one, gpu))
    cache.start_load("two", ())
    assert arrived.wait(PATIENCE)
    assert moves(one) == ["cpu", "meta"]


class FakeCompiledModel:
    """Compiled code of a model, as far as a cache knows it: its moves go into the model's own list of moves."""

    def __init__(self, ways: list[str]) -> None:
        self.release, self.restore = lambda: ways.append("code gone"), lambda: ways.append("code back")
        self.suspensions: list[float] = []

    def suspend(self, seconds: float) -> bool:
        self.suspensions.append(seconds)
        return len(self.suspensions) == 1

    def set_plain(self, *, plain: bool) -> None:
        """Nothing here is compiled."""


def test_compiled_code_is_released_before_its_model_and_restored_after_it() -> None:
    one = fake_model("one", 200)
    driver = CacheDriver(replace(one, compiled_model=FakeCompiledModel(moves(one))), two=CannotLoad("Broken."))
    driver.sizes["two"] = 200
    driver.fetch("two")
    assert moves(one) == ["code gone", "cpu", "cpu", "code back"]


def test_when_all_are_at_work_their_compiled_code_rests_before_memory_is_said_to_be_full() -> None:
    one, two, idle = fake_model("one"), fake_model("two"), fake_model("idle")
    compiled_models = [FakeCompiledModel(moves(one)), FakeCompiledModel(moves(two))]
    driver = CacheDriver(
        replace(one, compiled_model=compiled_models[0]), replace(two, compiled_model=compiled_models[1]), idle
    )
    assert driver.cache.free_memory({"one", "two"}) and compiled_models[0].suspensions == [], "idle models go first"
    assert driver.cache.free_memory({"one", "two"})
    assert compiled_models[0].suspensions == compiled_models[1].suspensions == [SUSPEND_SECONDS], (
        "all of them in one go"
    )
    assert driver.there == ("one", "two")
    assert not driver.cache.free_memory({"one", "two"}), "there is no more"


def test_encodings_wait_in_the_hosts_memory_and_are_given_on_the_device() -> None:
    family = FakeFamily()
    encoded: list[str] = []
    family.log = encoded.append
    model = LoadedModel.of(fake_model("one", family=family), DEVICE)
    family.device = torch.device("meta")
    encoded.clear()
    for _ in range(2):
        known = model.context(Adaptation()).text("a boat")
    assert len(encoded) == 1 and known["text"].device.type == "meta"
    assert [value.device.type for text in model._texts.values() for value in text.values()] == ["cpu"]


def test_encodings_are_kept_up_to_so_many_bytes_the_newest_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LoadedModel.of(fake_model("one"), DEVICE)
    monkeypatch.setattr("worker.engine.loaded_model.MAX_TEXT_BYTES", 2 * 4 * 8 * 4)
    text = model.context(Adaptation()).text
    for words in ("one", "two", "one", "three"):
        text(words)
    assert [key[0] for key in model._texts] == ["one", "three"]


def test_what_a_new_model_is_tried_with_is_nothing_to_compile_for(
    loaded: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = loaded.family.parts["unet"]
    monkeypatch.setattr(unet, "forward", unet.forward)  # as it is, when this test is over
    forward = CompiledForward(unet, ShapeCounts())
    compiled_model = CompiledModel(cast("Any", SimpleNamespace(targets=[SimpleNamespace(forward=forward)])))
    model = LoadedModel.of(replace(loaded, compiled_model=compiled_model), DEVICE)
    assert forward.counts.most_used() == []
    smoke_test(model.family, 64)
    assert len(forward.counts.most_used()) == 1, "from then on forwards count"


@pytest.mark.parametrize(
    ("native", "multiple", "side"), [(1024, 64, 256), (1024, 16, 256), (64, 64, 64), (360, 32, 96)]
)
def test_models_are_tried_at_a_quarter_of_their_side(native: int, multiple: int, side: int) -> None:
    family = FakeFamily()
    family.native, family.multiple = native, multiple
    assert smoke_test_side(family) == side


def test_what_was_encoded_leaves_the_device_with_the_model() -> None:
    one = fake_model("one", 200)
    driver = CacheDriver(one, two=CannotLoad("Broken."))
    model = driver.cache.get("one")
    assert model is not None
    driver.sizes["two"] = 200
    model.context(Adaptation()).text("a boat")
    assert model._texts
    driver.fetch("two")
    assert not model._texts and driver.cache.get("one") is model


def test_a_model_of_which_the_catalogue_has_other_files_goes_when_it_is_idle() -> None:
    driver = CacheDriver(fake_model("one"), fake_model("two"))
    driver.loads.current = lambda name: name != "one"
    driver.cache.set_catalogue(Catalogue(default="one", models=()))
    assert not driver.cache.evict_stale({"one"}) and driver.there == ("one", "two")
    assert driver.cache.evict_stale(set()) and driver.there == ("two",)
    assert not driver.cache.evict_stale(set())


def test_what_is_replaced_is_loaded_anew_and_what_it_was_is_not_told_any_more() -> None:
    driver = CacheDriver(fake_model("one"), one=fake_model("one", 70), two=fake_model("two"))
    driver.loads.current = lambda name: name != "one"
    assert driver.cache.is_stale("one") and not driver.cache.is_stale("two")
    assert driver.cache.evict_stale(set()) and driver.cache.models() == Models(loaded=(), known=())
    assert not driver.cache.is_stale("one"), "it is not there"


def test_one_whose_files_are_replaced_while_it_loads_is_loaded_once_more() -> None:
    driver = CacheDriver(one=fake_model("one"))
    driver.loads.gates["one"] = threading.Event()
    assert driver.begin("one")
    driver.loads.current = lambda name: False
    driver.cache.set_catalogue(Catalogue(default="one", models=()))
    driver.loads.gates["one"].set()
    assert driver.end() == LoadResult(name="one")
    assert driver.cache.evict_stale(set()) and driver.there == ()
