"""A setting reads the same for the bot and for a worker of its own, and says what would be right."""

import pytest

from core.errors import ConfigError
from core.setting_parsers import WORKER_SETTINGS, device, host_and_port, number, one_of, whole


@pytest.mark.parametrize("text", ["", "many", "1.5", "-1", "101", "1_0", "²", "9" * 5000])
def test_a_whole_number_has_only_digits_and_lies_in_its_range(text: str) -> None:
    with pytest.raises(ConfigError, match=r"DARKROOM_RUNNING is “.*”\. It has to be a whole number from 0 to 100\."):
        whole(0, 100)("DARKROOM_RUNNING", text)


def test_numbers_may_have_fractions_but_have_to_be_numbers() -> None:
    assert number(0, 1)("X", "0.5") == 0.5
    for text in ("nan", "2", "half"):
        with pytest.raises(ConfigError, match=rf"X is “{text}”\. It has to be a number from 0 to 1\."):
            number(0, 1)("X", text)


def test_capitals_do_not_matter_in_words_and_devices() -> None:
    assert one_of(("auto", "off"))("X", "OFF") == "off"
    assert device("X", "CUDA:1") == "cuda:1"
    with pytest.raises(ConfigError, match="one of: auto, off"):
        one_of(("auto", "off"))("X", "on")
    with pytest.raises(ConfigError, match="auto, cpu, cuda"):
        device("X", "cuda:")


@pytest.mark.parametrize(
    ("text", "pair"), [("0.0.0.0:8801", ("0.0.0.0", 8801)), ("[::1]:8801", ("::1", 8801)), ("bot:0", ("bot", 0))]
)
def test_an_address_is_a_host_and_a_port(text: str, pair: tuple[str, int]) -> None:
    assert host_and_port(text) == pair


@pytest.mark.parametrize("text", ["", "8801", ":8801", "host:", "host:port", "host:99999", "0.0.0.0:²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        host_and_port(text)


@pytest.mark.parametrize("name", WORKER_SETTINGS)
def test_every_default_of_a_worker_is_right(name: str) -> None:
    setting = WORKER_SETTINGS[name]
    assert str(setting.parse(name, setting.default)) == setting.default
