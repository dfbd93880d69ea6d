"""Rules for application commands, as PUT in bulk. Pure."""

import re
from typing import Any

from sandbox.validate.problems import Path, Problems
from sandbox.value_types import Json

CHAT_INPUT, USER_COMMAND, MESSAGE_COMMAND = 1, 2, 3
MOST = {CHAT_INPUT: 100, USER_COMMAND: 5, MESSAGE_COMMAND: 5}
(
    SUBCOMMAND,
    GROUP,
    STRING_OPTION,
    INTEGER_OPTION,
    BOOLEAN_OPTION,
    USER_OPTION,
    CHANNEL_OPTION,
    ROLE_OPTION,
    MENTIONABLE_OPTION,
    NUMBER_OPTION,
    ATTACHMENT_OPTION,
) = range(1, 12)


def check_commands(commands: Any) -> None:
    """Refuse a set of commands that Discord would refuse."""
    problems = Problems()
    if problems.count((), commands, 110):
        for place, command in enumerate(commands):
            _command(problems, (place,), command)
        _together(problems, commands)
    problems.raise_if_any()


def _together(problems: Problems, commands: list[Any]) -> None:
    names: set[tuple[int, str]] = set()
    counts = dict.fromkeys(MOST, 0)
    for place, command in enumerate(commands):
        kind, name = command.get("type", CHAT_INPUT), command.get("name")
        if (kind, name) in names:
            problems.add((place,), "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
        names.add((kind, name))
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] == MOST.get(kind, 0) + 1:
            words = f"Maximum number of application commands reached ({MOST.get(kind, 0)})"
            problems.add((place,), "APPLICATION_COMMAND_LIMIT_REACHED", words)


def _command(problems: Problems, path: Path, command: Any) -> None:
    if not isinstance(command, dict):
        problems.add(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
        return
    kind = command.get("type", CHAT_INPUT)
    if kind not in MOST:
        problems.add((*path, "type"), "BASE_TYPE_CHOICES", "Value must be one of (1, 2, 3).")
    if kind == CHAT_INPUT:
        _name(problems, (*path, "name"), command.get("name"))
        problems.text((*path, "description"), command.get("description"), 100, least=1, required=True)
        _options(problems, (*path, "options"), command.get("options") or [], depth=0)
    else:
        problems.text((*path, "name"), command.get("name"), 32, least=1, required=True)
        if command.get("description") or command.get("options"):
            words = "Context menu commands have neither description nor options"
            problems.add((*path, "description"), "APPLICATION_COMMAND_INVALID_DESCRIPTION", words)
    if size(command) > 8000:
        problems.add(path, "APPLICATION_COMMAND_TOO_LARGE", "Command exceeds maximum size (8000)")
    for field, allowed in (("contexts", {0, 1, 2}), ("integration_types", {0, 1})):
        if not set(command.get(field) or []) <= allowed:
            problems.add((*path, field), "BASE_TYPE_CHOICES", f"Value must be one of {allowed}.")


def _name(problems: Problems, path: Path, name: Any) -> None:
    problems.text(path, name, 32, least=1, required=True)
    if isinstance(name, str) and name and (not re.fullmatch(r"[-\w']{1,32}", name) or name != name.lower()):
        words = "Command name is invalid"
        problems.add(path, "APPLICATION_COMMAND_INVALID_NAME", words)


def _options(problems: Problems, path: Path, options: Any, *, depth: int) -> None:
    if not problems.count(path, options, 25):
        return
    optional, names = False, set()
    for place, option in enumerate(options):
        here = (*path, place)
        if not isinstance(option, dict) or option.get("type") not in range(1, 12):
            problems.add((*here, "type"), "BASE_TYPE_CHOICES", "Value must be one of 1 to 11.")
            continue
        _option(problems, here, option, depth=depth)
        if option["name"] in names if "name" in option else False:
            problems.add(here, "APPLICATION_COMMAND_OPTIONS_NAME_DUPLICATED", "Option names must be unique")
        names.add(option.get("name"))
        if option.get("required") and optional:
            words = "Required options must be placed before non-required options"
            problems.add(here, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", words)
        optional = optional or not option.get("required")
    nested = {o.get("type") in (SUBCOMMAND, GROUP) for o in options if isinstance(o, dict)}
    if len(nested) > 1:
        words = "Sub-command and sub-command group option types are mutually exclusive to all other types"
        problems.add(path, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", words)


def _option(problems: Problems, path: Path, option: Json, *, depth: int) -> None:
    _name(problems, (*path, "name"), option.get("name"))
    problems.text((*path, "description"), option.get("description"), 100, least=1, required=True)
    kind = option["type"]
    if kind in (SUBCOMMAND, GROUP):
        if depth > 1 or (kind == GROUP and depth):
            problems.add((*path, "type"), "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Nested too deeply")
        else:
            _options(
                problems, (*path, "options"), option.get("options") or [], depth=depth + (1 if kind == GROUP else 2)
            )
        return
    choices = option.get("choices")
    if choices is not None and problems.count((*path, "choices"), choices, 25):
        for place, choice in enumerate(choices):
            _choice(problems, (*path, "choices", place), choice, kind)
    if choices and option.get("autocomplete"):
        words = "Choices and autocomplete cannot both be given"
        problems.add((*path, "autocomplete"), "APPLICATION_COMMAND_OPTION_AUTOCOMPLETE_WITH_CHOICES", words)
    problems.number((*path, "min_length"), option.get("min_length"), 0, 6000)
    problems.number((*path, "max_length"), option.get("max_length"), 1, 6000)


def _choice(problems: Problems, path: Path, choice: Any, kind: int) -> None:
    problems.text((*path, "name"), choice.get("name"), 100, least=1, required=True)
    value = choice.get("value")
    if kind == STRING_OPTION:
        problems.text((*path, "value"), value, 100, least=0, required=True)
    elif kind in (INTEGER_OPTION, NUMBER_OPTION) and (isinstance(value, bool) or not isinstance(value, int | float)):
        problems.kind((*path, "value"), "Must be a number.")


def check_choices(choices: Any) -> None:
    """The answer to an autocomplete question."""
    problems = Problems()
    if problems.count(("data", "choices"), choices, 25):
        for place, choice in enumerate(choices):
            problems.text(("data", "choices", place, "name"), choice.get("name"), 100, least=1, required=True)
            if isinstance(choice.get("value"), str):
                problems.text(("data", "choices", place, "value"), choice["value"], 100)
    problems.raise_if_any()


def size(command: Json) -> int:
    """Characters of names, descriptions and values, which Discord bounds at 8,000."""
    total = len(str(command.get("name") or "")) + len(str(command.get("description") or ""))
    for choice in command.get("choices") or []:
        total += len(str(choice.get("name", ""))) + len(str(choice.get("value", "")))
    return total + sum(size(option) for option in command.get("options") or [] if isinstance(option, dict))
