"""What is finished is said as it was ordered, or not at all."""

from dataclasses import replace
from typing import Any

import pytest

from tests.worker.engine_driver import EngineDriver, request
from tests.worker.fake_models import FakeSource, fake_model
from worker.device import choose_device
from worker.engine import ModelCache


def test_a_picture_of_another_size_than_was_ordered_is_never_sent_and_its_job_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from worker.engine import prepare_job

    prepare = prepare_job.prepare

    def cuts(order: Any, context: Any) -> Any:
        prepared = yield from prepare(order, context)
        return replace(prepared, finish=lambda place, made: made[:32])

    monkeypatch.setattr(prepare_job, "prepare", cuts)
    cache = ModelCache(FakeSource(), choose_device("cpu", "float32", 0), 1000)
    driver = EngineDriver(fake_model("one"), cache=cache)
    driver.submit("cut", request(model="one"))
    driver.finish("cut")
    assert "drew 64×32 pixels instead of 64×64. Choose another size" in driver.failure("cut").sentence
    assert not driver.pictures("cut")
