"""The public roots and CT logs of the day on which a chain was captured.

Roots are those of the certifi of the time, which uv installs from PyPI into a temporary folder. Where that fails, the
package's own knowledge is used (`DataSet.public_roots(at)`): it has removed roots, but not the date of later ones.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.knowledge import data_set
from detector.knowledge.known_roots import date_of
from detector.knowledge.roots import load
from detector.model import RootOrigin
from detector.trust.roots import NO_ROOTS, Roots

from .uv import UvError, run_uv

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Collection, Mapping

    from detector.trust.ct_logs import LogList


COPIES: Final = {"copy 6 months old": 183, "copy 12 months old": 365, "copy 24 months old": 730}
"""Ages, in days, of copies of the package that were not updated."""


class Knowledge(NamedTuple):
    """Roots and logs by the day of a capture, and their origin in words.

    `ages` are the ages, in days, of the out-of-date copies that also assess captured chains; none where roots or logs
    are the same on every day.
    """

    roots: Callable[[dt.date], Roots]
    logs: Callable[[dt.date], LogList]
    roots_from: str
    logs_from: str
    ages: Mapping[str, int]

    def stores(self, then: dt.date, now: dt.date) -> tuple[Roots, ...]:
        """Return what machines trust on the day `now` apart from the roots of `then`.

        A store of `then` adds nothing; a newer one has the new roots, shipped with the system or of unrecorded origin.
        """
        known = self.roots(then).keys
        new = [root for root in self.roots(now).roots if root.certificate.spki_sha256 not in known]
        return (
            NO_ROOTS,
            *(
                Roots((root._replace(origin=origin) for root in new), name="operating system", version=str(now))
                for origin in (RootOrigin.SHIPPED, RootOrigin.UNKNOWN)
            ),
        )


def roots_of_the_time(days: Collection[dt.date], *, download: bool) -> tuple[Callable[[dt.date], Roots], str]:
    """Return the roots of each of these days, and their origin in words."""
    versions = sorted({version_of(day) for day in days}, key=lambda name: date_of(name) or min(days))
    if not download:
        return (
            data_set.shipped().public_roots,
            "as the package remembers them: older certifi releases were not requested",
        )
    try:
        found = asyncio.run(_certifi(versions))
    except (UvError, OSError) as error:
        print(f"older certifi releases: {error}", file=sys.stderr)
        return (
            data_set.shipped().public_roots,
            "as the package remembers them: older certifi releases could not be installed",
        )
    span = versions[0] if len(versions) == 1 else f"{versions[0]} to {versions[-1]}"
    return lambda day: found[version_of(day)], f"certifi of the time, from PyPI: {len(versions)} releases, {span}"


def version_of(day: dt.date) -> str:
    """Return the newest certifi on that day; the oldest known one for earlier days."""
    versions = data_set.shipped().known_roots.versions
    before = [name for name in versions if (dated := date_of(name)) is not None and dated <= day]
    return before[-1] if before else versions[0]


async def _certifi(versions: Collection[str]) -> dict[str, Roots]:
    """Install these releases; each as a copy of the package from that day has it, with the roots removed before."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="detector-certifi-") as temporary:
        for version in versions:
            folder = Path(temporary) / version
            await run_uv("pip", "install", "--quiet", "--no-deps", "--target", str(folder), f"certifi=={version}")
            date = date_of(version)
            roots = load(folder / "certifi" / "cacert.pem", date=date)
            retired = data_set.shipped().public_roots(date).retired.without(roots.keys)
            found[version] = Roots(roots.roots, name="certifi", version=version, date=date, retired=retired)
    return found
