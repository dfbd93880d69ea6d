"""Collects what is wrong with a body into Discord's nested `errors` object. Knows no rule itself."""

from typing import Any

from sandbox.errors import refuse
from sandbox.value_types import Json

Path = tuple[str | int, ...]


class Problems:
    """Found problems by the path to the field."""

    def __init__(self) -> None:
        self.tree: Json = {}

    def add(self, path: Path, code: str, message: str) -> None:
        node = self.tree
        for part in path:
            node = node.setdefault(str(part), {})
        node.setdefault("_errors", []).append({"code": code, "message": message})

    def required(self, path: Path) -> None:
        self.add(path, "BASE_TYPE_REQUIRED", "This field is required")

    def kind(self, path: Path, message: str) -> None:
        self.add(path, "BASE_TYPE_BAD_TYPE", message)

    def text(self, path: Path, value: Any, most: int, *, least: int = 0, required: bool = False) -> None:
        """A text field of `least` to `most` characters; None and missing are fine unless it is required."""
        if value is None:
            if required:
                self.required(path)
            return
        if not isinstance(value, str):
            self.kind(path, "Must be a string.")
        elif required and least and not value:
            self.required(path)
        elif len(value) > most or len(value) < least:
            code, words = ("BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")
            if least:
                code, words = ("BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length.")
            self.add(path, code, words)

    def flag(self, path: Path, value: Any) -> None:
        if value is not None and not isinstance(value, bool):
            self.kind(path, "Must be either true or false.")

    def id(self, path: Path, value: str) -> None:
        """The text of a query or path that has to be an id."""
        if not (value.isascii() and value.isdecimal() and int(value) < 1 << 64):
            self.add(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')

    def number(self, path: Path, value: Any, least: float, most: float) -> None:
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.kind(path, "Must be a number.")
        elif value < least:
            self.add(path, "NUMBER_TYPE_MIN", f"int value should be greater than or equal to {least}.")
        elif value > most:
            self.add(path, "NUMBER_TYPE_MAX", f"int value should be less than or equal to {most}.")

    def count(self, path: Path, value: Any, most: int, *, least: int = 0) -> bool:
        """A list of `least` to `most` entries; False when there is no sense in looking into it."""
        if not isinstance(value, list):
            self.kind(path, "Only iterables may be used in a ListType")
            return False
        if not least <= len(value) <= most:
            code = "BASE_TYPE_BAD_LENGTH" if least else "BASE_TYPE_MAX_LENGTH"
            words = f"Must be between {least} and {most} in length." if least else f"Must be {most} or fewer in length."
            self.add(path, code, words)
        return True

    def raise_if_any(self) -> None:
        if self.tree:
            raise refuse("invalid_form", self.tree)
