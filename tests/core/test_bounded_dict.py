"""A memory that must not grow for ever keeps what was set last."""

from core.bounded_dict import BoundedDict


def filled(most: int, *keys: str) -> BoundedDict[str, int]:
    memory: BoundedDict[str, int] = BoundedDict(most)
    for number, key in enumerate(keys):
        memory[key] = number
    return memory


def test_the_oldest_entry_goes_first() -> None:
    assert filled(2, "a", "b", "c") == {"b": 1, "c": 2}


def test_setting_an_entry_again_makes_it_the_newest() -> None:
    assert filled(2, "a", "b", "a", "c") == {"a": 2, "c": 3}


def test_every_way_to_put_an_entry_in_is_bounded() -> None:
    memory = filled(2, "a", "b")
    memory.setdefault("c", 2)
    memory.update(d=3)
    assert memory == {"c": 2, "d": 3}
    assert memory.pop("c") == 2
    assert filled(0, "a") == {}
