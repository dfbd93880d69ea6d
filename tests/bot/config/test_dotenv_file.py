"""The .env file: what in it sets nothing is said, without a word of it, and what cannot be read has a cure."""

from pathlib import Path

import pytest

from bot.config import VARIABLES, Config, dotenv_file
from bot.config.unknown_settings import ELSEWHERE
from core.errors import ConfigError


def notes(file: Path, text: str, **environ: str) -> tuple[str, ...]:
    """What a start says of a .env with this text."""
    file.write_text(text)
    return Config.from_env(environ, file).notes


def test_a_file_that_is_not_there_sets_nothing(tmp_path: Path) -> None:
    assert dotenv_file.read_dotenv(tmp_path / ".env") == dotenv_file.EnvFile({})


def test_a_file_in_another_encoding_or_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("DARKROOM_BLOCKED=Müll\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="not in UTF-8"):
        dotenv_file.read_dotenv(tmp_path / "latin")
    with pytest.raises(ConfigError, match=r"cannot be read: .* this user can read"):
        dotenv_file.read_dotenv(tmp_path)


def test_a_line_that_sets_nothing_is_named_by_its_number_alone(tmp_path: Path, caplog) -> None:
    text = '# mine\n\nsecret.token.alone\nDARKROOM_RUNNING=5\n\n\nDISCORD_TOKEN: secret\nDARKROOM_LOG="secret\n'
    assert notes(tmp_path / ".env", text) == tuple(f".env, line {number}: write NAME=value." for number in (3, 7, 8))
    assert caplog.records == []


def test_a_token_that_was_pasted_onto_its_name_is_not_repeated(tmp_path: Path) -> None:
    assert notes(tmp_path / ".env", "DISCORD_TOKENabc.def.ghi=\n") == (".env, line 1: write NAME=value.",)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("DARKROOM_RUNING", "DARKROOM_RUNNING"),
        ("DARKROOM_TOKEN", "DISCORD_TOKEN"),
        ("DISCORD_GUILD", "DARKROOM_GUILDS"),
        ("darkroom_port", "DARKROOM_PORT"),
    ],
)
def test_a_misspelt_name_is_said_with_the_right_one(tmp_path: Path, name: str, right: str) -> None:
    said = (f"{name} is not a setting. Did you mean {right}?",)
    assert notes(tmp_path / ".env", f"{name}=1\n") == said
    assert notes(tmp_path / ".env", f"{name}=1\n", **{name: "1"}) == said


def test_a_name_that_is_near_to_none_leads_to_the_list(tmp_path: Path) -> None:
    assert notes(tmp_path / ".env", "DARKROOM_XYZZY=1\n") == (
        "DARKROOM_XYZZY is not a setting. docs/running.md lists them all.",
    )


def test_what_is_known_and_what_is_anothers_is_not_mentioned(tmp_path: Path) -> None:
    names = [variable.name for variable in VARIABLES] + sorted(ELSEWHERE) + ["HF_HOME", "COMPOSE_PROJECT_NAME"]
    assert notes(tmp_path / ".env", "".join(f"{name}=\n" for name in names)) == ()


def test_the_mark_that_some_editors_put_before_the_first_name_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DISCORD_TOKEN=abc\n", encoding="utf-8-sig")
    assert dotenv_file.read_dotenv(tmp_path / ".env") == dotenv_file.EnvFile({"DISCORD_TOKEN": "abc"})
