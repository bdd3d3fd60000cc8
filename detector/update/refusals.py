"""What TUF's errors mean, in sentences for people who run a timer that failed.

Room: update. Pure. The one place where errors of python-tuf become `UpdateError`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from tuf.api import exceptions

from detector.errors import UpdateError

from .targets import STAYS, TELL, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

_TUF_ERRORS: Final = (exceptions.RepositoryError, exceptions.DownloadError)
_MEANINGS: Final[dict[type[Exception], tuple[str, str]]] = {
    exceptions.ExpiredMetadataError: (
        "what it offers has expired, so nobody can say that it is the newest",
        (
            f"{STAYS} Check this machine's clock. If it is right, somebody replays an old copy, or nobody renewed it: "
            "try another network, or export the repository again."
        ),
    ),
    exceptions.UnsignedMetadataError: (
        "not signed by enough of the keys that this copy trusts for it",
        f"{STAYS} Check the address. For a repository of your own, name its first root: --root FILE.",
    ),
    exceptions.BadVersionNumberError: (
        "older than what this copy has verified before, or put together from several states",
        f"{STAYS} Somebody replays an old copy, or a mirror is behind: try again later, or from another place.",
    ),
    exceptions.LengthOrHashMismatchError: (
        "a file is not the one that was signed",
        f"{STAYS} It was changed, or delivered in part: try again later, or from another place.",
    ),
    exceptions.RepositoryError: ("not the metadata of a repository, or not in a valid state", TELL),
    exceptions.DownloadLengthMismatchError: (
        "a file is longer than was signed or than any has",
        f"{STAYS} It was changed, or the address is not that of a repository.",
    ),
    exceptions.DownloadHTTPError: (
        "a file is missing",
        f"{STAYS} Check the address: its directory holds `metadata` and `targets`. Make an incomplete copy again.",
    ),
    exceptions.DownloadError: ("cannot be fetched", f"{STAYS} Try again later, or from another place."),
}
"""What each error of TUF means, the special before the general: the reader has a timer that failed."""


REASON_CHARACTERS_MAX: Final = 300
"""Characters of TUF's own message that are kept: it can repeat what was read."""


@contextlib.contextmanager
def refused(place: str, *, vendor: str | None = None) -> Iterator[None]:
    """Raise what TUF refuses as `UpdateError`, which names the repository, what is wrong with it, and what to do.

    `vendor` is set while the role of a vendor is verified: without its pins all else can be updated.
    """
    try:
        yield
    except _TUF_ERRORS as error:
        meaning, advice = next(words for kind, words in _MEANINGS.items() if isinstance(error, kind))
        if vendor is not None:
            place = f"{place}: vendor {vendor}"
            advice = f"{advice} To update without the pins of this vendor: --forget-vendor {vendor}."
        raise UpdateError(f"{place}: {meaning} ({shown(str(error), REASON_CHARACTERS_MAX)}).", advice=advice) from error
