"""As many models as fit, none gone before its successor is there, and a load that fails changes nothing."""

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from core.events import Catalogue, Models
from tests.worker.fake_models import PATIENCE, Loads, Paper, Part, Sheet, WholePaper, paper
from worker.checkpoints.loader import CannotLoad, Loaded
from worker.compiling.compiled_forward import Forward
from worker.compiling.compiled_model import Boost
from worker.compiling.shape_counts import Tally
from worker.device import Device, choose
from worker.engine.loaded_model import Held
from worker.engine.model_cache import REST_SECONDS, Arrival, Shelf
from worker.families.smoke_test import small_side, try_out
from worker.interfaces import Adaptation
from worker.memory.offload_plan import Company, NoRoom

DEVICE = choose("cpu", "float32", 0)
FULL = torch.OutOfMemoryError("CUDA out of memory.")


def out_of_memory() -> CannotLoad:
    """As the loader says it."""
    error = CannotLoad("It does not fit.")
    error.__cause__ = FULL
    return error


class Bench:
    """A shelf of 250 MB with some models on it, and what loads others."""

    def __init__(self, *there: Any, **loads: Any) -> None:
        self.loads = Loads(**loads)
        self.sizes = self.loads.sizes
        self._arrived = threading.Event()
        self.shelf = Shelf(self.loads, DEVICE, 250)
        self.shelf.arrived = self._arrived.set
        for loaded in there:
            self.shelf.put(Held.of(loaded, DEVICE))

    def fetch(self, name: str, *busy: str) -> Arrival | None:
        """A load from its beginning to its end."""
        assert self.begin(name, *busy)
        return self.end(*busy)

    def begin(self, name: str, *busy: str) -> bool:
        self._arrived.clear()
        return self.shelf.fetch(name, busy)

    def end(self, *busy: str) -> Arrival | None:
        assert self._arrived.wait(PATIENCE)
        return self.shelf.settle(busy)

    @property
    def there(self) -> tuple[str, ...]:
        return self.shelf.models().loaded


def moves(loaded: Any) -> list[str]:
    part = loaded.family.parts["unet"]
    assert isinstance(part, Part)
    return part.moves


def test_a_model_that_fits_comes_beside_the_others() -> None:
    one = paper("one")
    bench = Bench(one, two=paper("two"))
    assert bench.fetch("two") == Arrival(name="two")
    assert bench.there == ("one", "two") and moves(one) == []


def test_the_one_that_was_not_used_for_longest_goes_and_only_as_many_as_have_to() -> None:
    bench = Bench(paper("one"), paper("two"), three=paper("three", 150))
    bench.sizes["three"] = 150
    assert bench.shelf.get("one") is not None
    assert bench.fetch("three") == Arrival(name="three")
    assert bench.there == ("one", "three")


def test_who_leaves_waits_in_the_hosts_memory_until_the_new_one_has_been_tried_out() -> None:
    one = paper("one", 200)
    bench = Bench(one, two=paper("two", 200))
    bench.sizes["two"] = 200
    bench.loads.gates["two"] = threading.Event()
    assert bench.begin("two")
    assert bench.shelf.loading == "two" and bench.shelf.get("one") is None
    bench.loads.gates["two"].set()
    assert bench.end() == Arrival(name="two")
    assert moves(one) == ["cpu"] and bench.there == ("two",)


def test_whatever_was_ordered_is_done_before_weights_go(monkeypatch: pytest.MonkeyPatch) -> None:
    one = paper("one", 200)
    bench = Bench(one, two=paper("two", 200))
    bench.sizes["two"] = 200
    there: list[tuple[tuple[str, ...], list[str]]] = []
    monkeypatch.setattr(
        "worker.engine.model_cache.finish", lambda device: there.append((bench.there, list(moves(one))))
    )
    assert bench.fetch("two") == Arrival(name="two")
    assert there == [((), [])], "on its way out, but where it was"
    assert bench.shelf.shed(set()) and there[1:] == [(("two",), ["cpu"])]


@pytest.mark.parametrize("error", [CannotLoad("The file is broken."), RuntimeError("insides")], ids=repr)
def test_when_the_new_one_fails_the_old_one_is_back(error: Exception) -> None:
    one = paper("one", 200)
    bench = Bench(one, two=error)
    bench.sizes["two"] = 200
    arrival = bench.fetch("two")
    assert arrival is not None and arrival.sentence and "insides" not in arrival.sentence
    assert bench.there == ("one",) and moves(one) == ["cpu", "cpu"], "away, and back"
    assert bench.shelf.get("one") is not None


@pytest.mark.parametrize("broken", ["encode_picture", "encode_prompt", "denoise", "decode", "begin", "advance"])
def test_one_that_cannot_make_a_picture_does_not_take_the_old_ones_place(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise RuntimeError("its weights are of another shape")

    family = WholePaper() if broken in {"begin", "advance"} else Paper()
    bench = Bench(paper("one", 200), two=paper("two", 200, family=family))
    monkeypatch.setattr(Sheet if broken == "advance" else type(family), broken, breaks)
    bench.sizes["two"] = 200
    arrival = bench.fetch("two")
    assert arrival is not None and "makes no picture (RuntimeError: its weights are of" in arrival.sentence
    assert bench.there == ("one",)


def test_one_that_finds_no_room_when_it_is_tried_out_is_tried_again_with_more(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(paper("one"), two=paper("two"))
    denoise, full = Paper.denoise, iter([FULL])

    def narrow(*given: Any) -> Any:
        for error in full:
            raise error
        return denoise(*given)

    monkeypatch.setattr(Paper, "denoise", narrow)
    assert bench.fetch("two") is None and bench.there == ("one",)
    assert bench.fetch("two") == Arrival(name="two") and bench.there == ("two",)


def test_one_that_cannot_come_back_is_only_forgotten() -> None:
    bench = Bench(paper("one", 200, stuck=True), two=CannotLoad("Broken."))
    bench.sizes["two"] = 200
    assert bench.fetch("two") == Arrival(name="two", sentence="Broken.")
    assert bench.there == ()


def test_a_model_at_work_never_goes() -> None:
    bench = Bench(paper("one"), paper("two"), three=paper("three", 200))
    bench.sizes["three"] = 200
    assert not bench.begin("three", "one")
    assert bench.there == ("one", "two") and bench.loads.asked == []
    assert bench.fetch("three") == Arrival(name="three")


def test_one_that_is_larger_than_all_room_gets_the_device_for_itself() -> None:
    bench = Bench(paper("one"), paper("two"), huge=paper("huge", 900))
    bench.sizes["huge"] = 900
    assert not bench.begin("huge", "two")
    assert bench.fetch("huge") == Arrival(name="huge")
    assert bench.there == ("huge",)


def test_where_nobody_knew_the_size_others_go_after_all() -> None:
    bench = Bench(paper("one"), paper("two"), three=paper("three", 140))
    assert bench.fetch("three", "one") == Arrival(name="three")
    assert bench.there == ("one", "three")


def test_one_that_found_no_room_is_tried_again_with_all_of_it() -> None:
    answers = iter([out_of_memory(), paper("three", 200)])
    bench = Bench(paper("one"), paper("two"), three=lambda: next(answers))
    assert bench.fetch("three") is None
    assert bench.there == ("one", "two")
    assert not bench.begin("three", "two"), "the next try needs everything"
    assert bench.fetch("three") == Arrival(name="three")
    assert bench.there == ("three",)


def test_one_that_finds_no_room_even_alone_fails() -> None:
    bench = Bench(paper("one"), huge=out_of_memory())
    assert bench.fetch("huge") is None
    assert bench.fetch("huge") == Arrival(name="huge", sentence="It does not fit.")
    assert bench.there == ("one",)


def test_who_loads_is_told_what_the_others_have_and_will_have() -> None:
    one = paper("one")
    bench = Bench(replace(one, plan=replace(one.plan, later_mb=30)), paper("two", 20), three=paper("three"))
    assert bench.fetch("three") == Arrival(name="three")
    assert bench.loads.companies == [Company(models=150)]


def test_one_that_would_lie_badly_beside_others_is_tried_again_without_them_and_next_time_at_once() -> None:
    answers = iter([NoRoom("It would stream."), paper("three", 20), paper("three", 20)])
    bench = Bench(paper("one"), two=paper("two"), three=lambda: next(answers))
    assert bench.fetch("three") is None and bench.there == ("one",)
    assert not bench.begin("three", "one"), "as soon as nobody needs the other"
    assert bench.fetch("three") == Arrival(name="three") and bench.there == ("three",)
    bench.shelf.shed(())
    assert bench.fetch("two") and bench.fetch("three") == Arrival(name="three")
    assert bench.there == ("three",) and bench.loads.asked.count("three") == 3
    assert bench.loads.companies[-1] == Company()


def test_what_other_programs_take_of_the_device_is_no_room_for_models(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(paper("one"), two=paper("two"))
    bench.sizes["two"] = 100
    monkeypatch.setattr("worker.engine.model_cache.programs_mb", lambda device: 60)
    assert bench.fetch("two") == Arrival(name="two")
    assert bench.there == ("two",)


def test_one_loads_at_a_time() -> None:
    bench = Bench(one=paper("one"), two=paper("two"))
    bench.loads.gates["one"] = threading.Event()
    assert bench.begin("one")
    assert bench.shelf.fetch("two", ()) and bench.shelf.fetch("one", ())
    bench.loads.gates["one"].set()
    assert bench.end() == Arrival(name="one")
    assert bench.loads.asked == ["one"]


def test_what_is_there_and_what_was_ever_there_is_told() -> None:
    bench = Bench(paper("one", 200), two=paper("two", 200))
    bench.sizes["two"] = 200
    bench.fetch("two")
    told = bench.shelf.models()
    assert isinstance(told, Models)
    assert told.loaded == ("two",) and [info.name for info in told.known] == ["one", "two"]


def test_when_memory_is_full_the_idle_ones_are_let_go() -> None:
    bench = Bench(paper("one"), paper("two"))
    assert bench.shelf.shed({"two"})
    assert bench.there == ("two",)
    assert not bench.shelf.shed({"two"})


def test_the_device_is_what_they_come_back_to() -> None:
    one = paper("one", 200)
    loads = Loads(two=CannotLoad("Broken."))
    arrived = threading.Event()
    gpu = Device(place=torch.device("meta"), dtype=torch.float32, memory_mb=1000, max_rows=8, name="a GPU")
    loads.sizes["two"] = 200
    shelf = Shelf(loads, gpu, 250)
    shelf.arrived = arrived.set
    shelf.put(Held.of(one, gpu))
    shelf.fetch("two", ())
    assert arrived.wait(PATIENCE)
    assert moves(one) == ["cpu", "meta"]


class Boosted:
    """Compiled code of a model, as far as a shelf knows it: its ways go into the model's own list of moves."""

    def __init__(self, ways: list[str]) -> None:
        self.leave, self.come_back = lambda: ways.append("code gone"), lambda: ways.append("code back")
        self.rests: list[float] = []

    def rest(self, seconds: float) -> bool:
        self.rests.append(seconds)
        return len(self.rests) == 1

    def follow(self, *, plain: bool) -> None:
        """Nothing here is compiled."""


def test_compiled_code_leaves_before_its_model_and_returns_after_it() -> None:
    one = paper("one", 200)
    bench = Bench(replace(one, boost=Boosted(moves(one))), two=CannotLoad("Broken."))
    bench.sizes["two"] = 200
    bench.fetch("two")
    assert moves(one) == ["code gone", "cpu", "cpu", "code back"]


def test_when_all_are_at_work_their_compiled_code_rests_before_memory_is_said_to_be_full() -> None:
    one, two, idle = paper("one"), paper("two"), paper("idle")
    boosts = [Boosted(moves(one)), Boosted(moves(two))]
    bench = Bench(replace(one, boost=boosts[0]), replace(two, boost=boosts[1]), idle)
    assert bench.shelf.shed({"one", "two"}) and boosts[0].rests == [], "idle models go first"
    assert bench.shelf.shed({"one", "two"})
    assert boosts[0].rests == boosts[1].rests == [REST_SECONDS], "all of them in one go"
    assert bench.there == ("one", "two")
    assert not bench.shelf.shed({"one", "two"}), "there is no more"


def test_encodings_wait_in_the_hosts_memory_and_are_given_on_the_device() -> None:
    family = Paper()
    encoded: list[str] = []
    family.log = encoded.append
    held = Held.of(paper("one", family=family), DEVICE)
    family.device = torch.device("meta")
    encoded.clear()
    for _ in range(2):
        known = held.desk(Adaptation()).text("a boat")
    assert len(encoded) == 1 and known["text"].device.type == "meta"
    assert [value.device.type for text in held._texts.values() for value in text.values()] == ["cpu"]


def test_encodings_are_kept_up_to_so_many_bytes_the_newest_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held.of(paper("one"), DEVICE)
    monkeypatch.setattr("worker.engine.loaded_model.TEXTS_BYTES", 2 * 4 * 8 * 4)
    text = held.desk(Adaptation()).text
    for words in ("one", "two", "one", "three"):
        text(words)
    assert [key[0] for key in held._texts] == ["one", "three"]


def test_what_a_new_model_is_tried_with_is_nothing_to_compile_for(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = loaded.family.parts["unet"]
    monkeypatch.setattr(unet, "forward", unet.forward)  # as it is, when this test is over
    forward = Forward(unet, Tally())
    boost = Boost(cast("Any", SimpleNamespace(subjects=[SimpleNamespace(forward=forward)])))
    held = Held.of(replace(loaded, boost=boost), DEVICE)
    assert forward.tally.wishes() == []
    try_out(held.family, 64)
    assert len(forward.tally.wishes()) == 1, "from then on forwards count"


@pytest.mark.parametrize(
    ("native", "multiple", "side"), [(1024, 64, 256), (1024, 16, 256), (64, 64, 64), (360, 32, 96)]
)
def test_models_are_tried_at_a_quarter_of_their_side(native: int, multiple: int, side: int) -> None:
    family = Paper()
    family.native, family.multiple = native, multiple
    assert small_side(family) == side


def test_what_was_encoded_leaves_the_device_with_the_model() -> None:
    one = paper("one", 200)
    bench = Bench(one, two=CannotLoad("Broken."))
    held = bench.shelf.get("one")
    assert held is not None
    bench.sizes["two"] = 200
    held.desk(Adaptation()).text("a boat")
    assert held._texts
    bench.fetch("two")
    assert not held._texts and bench.shelf.get("one") is held


def test_a_model_of_which_the_catalogue_has_other_files_goes_when_it_is_idle() -> None:
    bench = Bench(paper("one"), paper("two"))
    bench.loads.current = lambda name: name != "one"
    bench.shelf.know(Catalogue(default="one", models=()))
    assert not bench.shelf.renew({"one"}) and bench.there == ("one", "two")
    assert bench.shelf.renew(set()) and bench.there == ("two",)
    assert not bench.shelf.renew(set())


def test_what_is_replaced_is_loaded_anew_and_what_it_was_is_not_told_any_more() -> None:
    bench = Bench(paper("one"), one=paper("one", 70), two=paper("two"))
    bench.loads.current = lambda name: name != "one"
    assert bench.shelf.is_stale("one") and not bench.shelf.is_stale("two")
    assert bench.shelf.renew(set()) and bench.shelf.models() == Models(loaded=(), known=())
    assert not bench.shelf.is_stale("one"), "it is not there"


def test_one_whose_files_are_replaced_while_it_loads_is_loaded_once_more() -> None:
    bench = Bench(one=paper("one"))
    bench.loads.gates["one"] = threading.Event()
    assert bench.begin("one")
    bench.loads.current = lambda name: False
    bench.shelf.know(Catalogue(default="one", models=()))
    bench.loads.gates["one"].set()
    assert bench.end() == Arrival(name="one")
    assert bench.shelf.renew(set()) and bench.there == ()
