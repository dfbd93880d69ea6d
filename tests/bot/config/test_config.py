"""Configuration: every setting has a default, is listed for people, and says what is wrong with it."""

from pathlib import Path

import pytest

from bot.catalogue.catalogue_files import default_of, documents, expected
from bot.config import ROOT, VARIABLES, Config
from core import catalogue_file
from core.errors import ConfigError

NOWHERE = Path("/nonexistent/.env")


def read(**environ: str) -> Config:
    return Config.from_env(environ, NOWHERE)


def test_everything_has_a_default() -> None:
    config = read()
    assert config.model == "postcard"
    assert config.guilds is None
    assert config.running == 3
    assert config.token == ""


def test_a_data_folder_lies_beside_the_program_wherever_it_is_started_from(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read().data == ROOT / "data"
    assert read(DARKROOM_DATA="elsewhere").data == ROOT / "elsewhere"
    assert read(DARKROOM_DATA=str(tmp_path)).data == tmp_path


def test_every_other_path_lies_beside_the_program_too(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read(DARKROOM_CATALOGUE="mine.toml").catalogue == ROOT / "mine.toml"
    assert read(DARKROOM_BLOCKED_FILE="LICENSE").blocked[0] == "MIT License"
    assert expected("models/postcard").path == str(ROOT / "models/postcard")
    assert expected("./models/postcard").path == str(ROOT / "models/postcard")


def test_every_setting_stands_in_the_example_file_with_its_default() -> None:
    text = (ROOT / ".env.example").read_text()
    for variable in VARIABLES:
        assert f"{variable.name}=" in text, variable.name


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("DARKROOM_RUNNING", "many", "a whole number from 1 to 100"),
        ("DARKROOM_RUNNING", "0", "a whole number from 1 to 100"),
        ("DARKROOM_RELAX_SHARE", "2", "a number from 0 to 0.9"),
        ("DARKROOM_RELAX_SHARE", "nan", "a number from 0 to 0.9"),
        ("DARKROOM_DEVICE", "tpu", "auto, cpu, cuda"),
        ("DARKROOM_DTYPE", "int8", "float32"),
        ("DARKROOM_GUILDS", "my server", "Copy ID"),
        ("DARKROOM_GUILDS", ",", "or all"),
        ("DARKROOM_STOP_SECONDS", "0", "from 8 to 3600"),
        ("DARKROOM_OWNERS", "12", "15 to 20 digits"),
        ("DARKROOM_WORKER", "remote", "local, none"),
        ("DARKROOM_WORKER_LISTEN", "8801", "host:port"),
        ("DARKROOM_BLOCKED_FILE", "/nonexistent/words", "Correct the path"),
        ("DARKROOM_BLOCKED_FILE", "~nobodyxx/words", "Write out the full path"),
        ("DARKROOM_CATALOGUE", "~nobodyxx/models.toml", "Write out the full path"),
        ("DARKROOM_DATA", "~nobodyxx/data", "Write out the full path"),
        ("DARKROOM_WORKER_LISTEN", "0.0.0.0:²", "host:port"),
        ("DARKROOM_WORKER_COMMAND", "'foo", "Close the quote"),
        ("DARKROOM_FAST_MINUTES", "-1", "from 0 to 1000000."),
        ("DARKROOM_QUEUE", "9" * 5000, "a whole number"),
        ("DISCORD_API_URL", "localhost", "http://127.0.0.1:8800"),
        ("DARKROOM_LOG", "loud", "debug, info"),
    ],
)
def test_a_wrong_setting_is_named_with_its_cure(name: str, value: str, cure: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**{name: value})
    assert name in caught.value.sentence
    assert cure in caught.value.sentence


@pytest.mark.parametrize("url", ["http://127.0.0.1:8800", "http://127.0.0.1:8800/", "http://127.0.0.1:8800/api/v10//"])
def test_slashes_behind_an_address_do_not_matter(url: str) -> None:
    assert read(DISCORD_API_URL=url).api_url == "http://127.0.0.1:8800"


def test_the_environment_wins_over_the_file_and_blanks_count_as_left_out(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("DARKROOM_RUNNING=5\nDARKROOM_WAITING=7\nDARKROOM_QUEUE=\n")
    config = Config.from_env({"DARKROOM_RUNNING": "9"}, file)
    assert (config.running, config.waiting, config.queue) == (9, 7, 200)


def test_what_people_copy_along_with_a_token_is_taken_off() -> None:
    assert read(DISCORD_TOKEN=' "Bot abc.def" ').token == "abc.def"


def test_no_secret_stands_in_the_repr_or_in_a_complaint() -> None:
    config = read(DISCORD_TOKEN="very-secret-token", DARKROOM_WORKER_KEY="very-secret-key")
    assert "secret" not in repr(config)
    assert set(config.secrets()) == {"very-secret-token", "very-secret-key"}
    with pytest.raises(ConfigError) as caught:
        read(DISCORD_TOKEN="very secret token")
    assert "secret" not in caught.value.sentence


def test_a_missing_token_is_said_with_both_ways_out() -> None:
    with pytest.raises(ConfigError, match=r"Reset Token.*python -m sandbox --with-bot"):
        read().need_token()
    read(DISCORD_API_URL="http://127.0.0.1:1").need_token()


def test_blocked_words_come_from_the_setting_and_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "words"
    file.write_text("# ours\none, two words\nthree\n")
    assert read(DARKROOM_BLOCKED="zero", DARKROOM_BLOCKED_FILE=str(file)).blocked == (
        "zero",
        "one",
        "two words",
        "three",
    )


def test_the_shipped_model_is_known_without_loading_it() -> None:
    model = expected("postcard")
    assert (model.name, model.native) == ("postcard", 256)
    assert Path(model.path).is_absolute()


def test_a_model_folder_is_read_from_its_own_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "My Model"
    for part, text in (
        ("unet", '{"sample_size": 64, "block_out_channels": [320, 640, 1280, 1280]}'),
        ("vae", '{"block_out_channels": [128, 256, 512, 512]}'),
    ):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(text)
    (folder / "model_index.json").write_text("{}")
    model = expected(str(folder))
    assert (model.name, model.native, model.multiple) == ("my-model", 512, 64)


@pytest.mark.parametrize("setting", ["./nowhere", "/nowhere/at/all", "just-a-name"])
def test_a_model_that_is_not_there_is_said(setting: str) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        expected(setting)


def test_a_misspelt_model_is_said_with_the_right_one() -> None:
    config = read(DARKROOM_MODEL="postcrad")
    with pytest.raises(ConfigError, match=r"DARKROOM_MODEL is “postcrad”.* Did you mean postcard\?"):
        default_of(config, catalogue_file.read(documents(config)))


def test_a_home_that_nobody_has_is_said_of_models_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"DARKROOM_MODEL is “~nobodyxx/model”.*Write out the full path"):
        expected("~nobodyxx/model")
    (tmp_path / "models.toml").write_text('[[model]]\nname = "mine"\nwhere = "~nobodyxx/model"\n')
    with pytest.raises(ConfigError, match=r"models\.toml is “~nobodyxx/model”.*Write out the full path"):
        documents(read(DARKROOM_DATA=str(tmp_path)))


def test_a_folder_that_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model_index\.json"):
        expected(str(tmp_path))
