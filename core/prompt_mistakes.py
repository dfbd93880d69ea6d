"""Collects what is wrong with a prompt, so that all of it is said at once. Pure; knows no parameter."""

from core.errors import Edit, Mistake, PromptError


class Mistakes:
    """Those of one prompt. What can be read beside a mistake still is, so that the next one is found as well."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: list[Mistake] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, sentence: str, word: str = "", start: int = 0, *edits: Edit, origin: str = "") -> None:
        """`word` stands at `start` of the prompt; `edits` would mend it, where only one thing can have been meant.

        `origin`: the saved setting that brought it, which is no part of the prompt.
        """
        if origin:
            found = Mistake(sentence=f"{sentence} It comes from {origin}.", word="", start=0)
        else:
            found = Mistake(sentence=sentence, word=word, start=start, edits=edits)
        self._found.append(found)

    def add_all(self, others: "Mistakes", origin: str) -> None:
        """Those of a saved setting."""
        for mistake in others._found:
            self.add(mistake.sentence, origin=origin)

    def raise_any(self) -> None:
        """Raises PromptError when there are any, in the order of their places."""
        if self._found:
            raise PromptError(sorted(self._found, key=lambda mistake: mistake.start), prompt=self._text)
