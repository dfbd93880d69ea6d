"""The bot's configuration, from the environment and .env, checked. Knows nothing of what the values are used for."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bot.config import dotenv_file, unknown_settings
from bot.config import value_parsers as parse
from core.errors import ConfigError
from core.setting_parsers import WORKER_SETTINGS, Parser, number, one_of, whole

#: The folder that the program lies in.
ROOT = Path(__file__).resolve().parent.parent.parent


#: Another Discord than the real one is the sandbox, which takes any token.
_SANDBOX_TOKEN = "sandbox"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting: its name in the environment, the text it has when left out, what it does, how it is read."""

    name: str
    default: str
    help: str
    read: Parser
    advanced: bool = False


def _text(_name: str, text: str) -> str:
    return text


def _worker_variable(name: str, does: str, *, advanced: bool = False) -> Variable:
    """One that a worker of its own reads, too."""
    setting = WORKER_SETTINGS[name]
    return Variable(name, setting.default, does, setting.parse, advanced)


_path = parse.path(ROOT)

VARIABLES: tuple[Variable, ...] = (
    Variable("DISCORD_TOKEN", "", "The bot's token. Empty: `make run` starts the sandbox instead.", parse.token),
    Variable("DARKROOM_DATA", "./data", "Folder of the database and the pictures.", _path),
    Variable(
        "DARKROOM_MODEL",
        "postcard",
        "The default model: a name in the catalogue, a folder, a .safetensors file, or a hub id.",
        _text,
    ),
    Variable("DARKROOM_CATALOGUE", "", "Your own models.toml. Empty: models.toml in the data folder.", _path),
    Variable("HF_TOKEN", "", "Token of the Hugging Face hub, for models that ask for one.", parse.token),
    _worker_variable("DARKROOM_DEVICE", "auto, cpu, cuda, or cuda:N."),
    _worker_variable("DARKROOM_DTYPE", "auto, float32, bfloat16 or float16."),
    Variable(
        "DARKROOM_OWNERS",
        "",
        "Ids of users who may do everything; the bot's owner always may.",
        parse.snowflakes,
    ),
    Variable(
        "DARKROOM_GUILDS",
        "all",
        "all: those that an owner manages or has approved. Or the ids of those to serve. Their members are served in "
        "direct messages, too.",
        parse.snowflakes_or_all,
    ),
    Variable("DARKROOM_CHANNELS", "all", "all, or the ids of the channels to answer in.", parse.snowflakes_or_all),
    Variable("DARKROOM_BLOCKED", "", "Words and phrases that no prompt may contain, separated by commas.", parse.words),
    Variable("DARKROOM_BLOCKED_FILE", "", "A text file with more of them, one per line.", parse.word_file(ROOT)),
    Variable(
        "DARKROOM_FAST_MINUTES",
        "200",
        "Fast GPU minutes for each member and month. A raise counts at once, a cut from the next month.",
        number(0, 1e6),
    ),
    Variable("DARKROOM_RUNNING", "3", "Jobs of one member running at once.", whole(1, 100)),
    Variable("DARKROOM_WAITING", "10", "Jobs of one member waiting at once.", whole(1, 1000)),
    Variable("DARKROOM_QUEUE", "200", "Jobs waiting at once, of all members together.", whole(1, 100_000)),
    Variable("DARKROOM_MAX_WORK", "400", "Largest job: megapixels × steps × pictures.", number(0.01, 1e6)),
    Variable("DARKROOM_RELAX_SHARE", "0.1", "Share of the GPU that relax jobs are guaranteed.", number(0, 0.9)),
    Variable(
        "DARKROOM_DISK_GB",
        "20",
        "Pictures to keep, in GB; older ones are drawn again when needed.",
        number(0.001, 1e6),
    ),
    _worker_variable("DARKROOM_DISK_FREE_MB", "With less free disk than this, jobs are refused and no models fetched."),
    Variable(
        "DARKROOM_WORKER",
        "local",
        "local: start a worker here. none: wait for workers.",
        one_of(("local", "none")),
    ),
    Variable("DARKROOM_WORKER_LISTEN", "", "host:port for workers on other machines. Empty: none.", parse.listen),
    Variable("DARKROOM_WORKER_KEY", "", "Secret that workers must know. Empty: one is made in the data folder.", _text),
    _worker_variable("DARKROOM_THREADS", "CPU threads of the worker. 0: it chooses."),
    _worker_variable("DARKROOM_ROWS", "Pictures the worker computes at once. 0: it chooses."),
    _worker_variable("DARKROOM_COMPILE", "auto: on a GPU the worker compiles models in the background. off: never."),
    _worker_variable(
        "DARKROOM_WEIGHTS", "full, or fp8: half the memory for the largest part of a model, a little slower."
    ),
    _worker_variable("DARKROOM_GPU_MB", "GPU memory that the worker may use, in MB. 0: all."),
    Variable("DARKROOM_PORT", "8800", "Port of the sandbox's page.", whole(0, 65535)),
    _worker_variable("DARKROOM_LOG", "debug, info, warning or error."),
    Variable(
        "DISCORD_API_URL",
        "",
        "Another Discord, such as the sandbox: http://127.0.0.1:8800.",
        parse.url,
        advanced=True,
    ),
    Variable(
        "DARKROOM_EDITS_PER_SECOND",
        "4",
        "Message edits per second, for all messages together.",
        number(0.1, 50),
        advanced=True,
    ),
    Variable(
        "DARKROOM_TOKEN_SECONDS",
        "900",
        "How long an interaction's token is used, in seconds.",
        number(1, 900),
        advanced=True,
    ),
    Variable(
        "DARKROOM_NEW_MESSAGE_AFTER",
        "60",
        "Seconds after which a result comes as a new message with a mention.",
        number(0, 1e6),
        advanced=True,
    ),
    Variable(
        "DARKROOM_STOP_SECONDS",
        "20",
        "Seconds that a stop may take, running jobs included.",
        number(8, 3600),
        advanced=True,
    ),
    _worker_variable(
        "DARKROOM_NICE", "How far the worker gives way to other programs on its machine, 0 to 19.", advanced=True
    ),
    Variable(
        "DARKROOM_WORKER_COMMAND",
        "",
        "Command that starts the local worker, instead of this program's own.",
        parse.command,
        advanced=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every setting as a value. `guilds` and `channels` are None for all of them; secrets stay out of the repr.

    `notes`: what in the settings is no setting, each a sentence; it stops nothing.
    """

    token: str = field(repr=False)
    api_url: str
    data: Path
    model: str
    catalogue: Path | None  # the owner's models.toml; None: the one in the data folder, if there is one
    hf_token: str = field(repr=False)
    device: str
    dtype: str
    owners: frozenset[str]
    guilds: frozenset[str] | None
    channels: frozenset[str] | None
    blocked: tuple[str, ...] = field(repr=False)
    fast_minutes: float
    running: int
    waiting: int
    queue: int
    max_work: float  # megapixels × steps × pictures
    relax_share: float
    disk_gb: float
    disk_free_mb: int
    worker: str
    worker_listen: tuple[str, int] | None
    worker_key: str = field(repr=False)
    worker_command: str
    threads: int
    rows: int
    compile: str
    weights: str
    gpu_mb: int
    nice: int
    port: int
    edits_per_second: float
    token_seconds: float
    new_message_after: float
    stop_seconds: float
    log: str
    notes: tuple[str, ...] = ()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = None) -> Self:
        """From `environ` (the process's own by default), then `dotenv` (the program's own .env), then the defaults.

        A path that is not absolute starts at the program: a start from elsewhere must find the same queue.
        Raises ConfigError, which names the setting and what would be right.
        """
        environ = os.environ if environ is None else environ
        file = dotenv_file.read_dotenv(dotenv if dotenv is not None else ROOT / ".env")
        found = {**file.values, **environ}
        read = {v.name: v.read(v.name, found.get(v.name, "").strip() or v.default) for v in VARIABLES}
        read["DARKROOM_BLOCKED"] = (*read["DARKROOM_BLOCKED"], *read.pop("DARKROOM_BLOCKED_FILE"))
        values = {
            name.removeprefix("DARKROOM_").removeprefix("DISCORD_").lower(): value for name, value in read.items()
        }
        if values["api_url"] and not values["token"]:
            values["token"] = _SANDBOX_TOKEN
        notes = unknown_settings.notes(file.broken, found, {variable.name for variable in VARIABLES})
        return cls(**values, notes=notes)

    def need_token(self) -> None:
        """Raises ConfigError when there is nothing to log in with."""
        if not self.token:
            raise ConfigError(
                "DISCORD_TOKEN is empty. Put the bot's token into .env (Discord's developer page → your application → "
                "Bot → Reset Token), or try Darkroom without Discord: python -m sandbox --with-bot."
            )

    def secrets(self) -> tuple[str, ...]:
        """What must never stand in a log."""
        return tuple(secret for secret in (self.token, self.worker_key, self.hf_token) if len(secret) > 7)
