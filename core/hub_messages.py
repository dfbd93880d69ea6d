"""What people are told of fetching from the hub: sizes, terms, room, and why it did not give what was asked for.

Pure: an error of the hub's library is told by the names of its classes, so that nobody has to load that library here.
"""

import errno
from collections.abc import Iterator

_GB = 1e9
_TOKENS = "huggingface.co → Settings → Access Tokens"


def gigabytes(size: float) -> str:
    """A size for people: "2.1 GB", "340 MB"."""
    return f"{size / _GB:.1f} GB" if size >= _GB else f"{size / 1e6:.0f} MB"


def no_room(needed: int, free: int, folder: object, spare: int) -> str:
    """When the disk of `folder` does not hold `needed` bytes more and keep `spare` free; empty when it does."""
    if free >= needed + spare:
        return ""
    return (
        f"{gigabytes(needed)} are to be fetched, and {gigabytes(free)} are free on the disk of {folder}, of which "
        f"{gigabytes(spare)} stay free for the bot. Make room first."
    )


def gated(repository: str, *, has_token: bool) -> str:
    """What somebody has to do for a model whose terms have to be accepted."""
    accept = f"{repository} asks everybody to accept its terms: do so at https://huggingface.co/{repository}"
    if has_token:
        return f"{accept} with the account that HF_TOKEN belongs to, then try again."
    return f"{accept}, make a token ({_TOKENS}), and put it into .env as HF_TOKEN."


def damaged(file: str) -> str:
    """When a file's sum is wrong however often it is fetched."""
    return f"{file} arrived damaged (its sum is not the hub's). Try again later; the other files are kept."


def why(error: BaseException, repository: str, *, has_token: bool) -> str:
    """Why the hub did not give it, with the cure, from what its library raised."""
    names = {name for one in _chain(error) for name in _classes(one)}
    if "GatedRepoError" in names:
        return gated(repository, has_token=has_token)
    if "OfflineModeIsEnabled" in names:
        return "HF_HUB_OFFLINE is set, so nothing is fetched. Unset it and try again."
    if "DisabledRepoError" in names:
        return f"The hub has closed {repository}, so that nobody can fetch it. Choose another model."
    if names & {"RepositoryNotFoundError", "HFValidationError"}:
        return f"The hub has no model {repository}, or it is private and HF_TOKEN may not see it."
    if names & {"RevisionNotFoundError", "RemoteEntryNotFoundError"}:
        return f"{repository} was changed on the hub just now. Try again: what is here already is kept."
    status = next((code for one in _chain(error) if (code := _status(one))), 0)
    if status == 401:
        token = "another token" if has_token else "a token"
        return f"The hub wants {token} for {repository}: make one ({_TOKENS}), and put it into .env as HF_TOKEN."
    if status == 403:
        return f"HF_TOKEN may not read {repository}: give it that right ({_TOKENS}), or put another into .env."
    if any(getattr(one, "errno", None) in (errno.ENOSPC, errno.EDQUOT) for one in _chain(error)):
        return f"The disk was full before {repository} was here. Make room and try again: what is here already is kept."
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return f"The hub did not give {repository} ({text}). Check the network and try again: what is here already is kept."


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__


def _classes(error: BaseException) -> Iterator[str]:
    return (one.__name__ for one in type(error).__mro__)


def _status(error: BaseException) -> int:
    """The hub's answer, as HTTP has it; 0 where there was none."""
    code = getattr(getattr(error, "response", None), "status_code", 0)
    return code if isinstance(code, int) else 0
