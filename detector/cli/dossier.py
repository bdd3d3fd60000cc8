"""`detector dossier`: what is known of TLS interception at one place, for a reviewer of the place.

Room: cli.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from detector.aio.lazy import LazyModule
from detector.errors import BundleError, HistoryError
from detector.history.dossier import Gathering, Item
from detector.model.validate import naming
from detector.session.seams import utc_now
from detector.session.settings import Expectations

from . import common, options, verify
from .options import Format
from .stderr import say
from .streams import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from detector import report as reports
    from detector.bundle import Verification
    from detector.history.store import History
    from detector.model import Reason
else:
    reports = LazyModule("detector.report")

RUNS_MOST: Final = 1_000_000
"""Runs searched for unfinished ones: a century of hourly runs."""

_HOLDS: Final = {
    "holds": "holds",
    "not-vouched": "is assessed as claimed",
    "incomplete": "was not found wrong, but does not show all that was claimed",
    "assessed-otherwise": "is assessed otherwise here, with other roots, logs or rules",
}


@options.command(
    "detector dossier --history runs.sqlite --vantage room-12 -o dossier.html",
    "detector dossier monday.json tuesday.json --key-file recorder.pem --days 30 --json",
)
def dossier(  # noqa: PLR0913 - one parameter per option
    *,
    bundles: tuple[str, ...] = options.argument(metavar="[BUNDLE]...", nargs=-1),
    place: str | None = options.read_history,
    vantage: str | None = options.target(
        "--vantage", "The place, as its runs name it; by default as the bundles do.", metavar="NAME"
    ),
    days: int | None = options.days,
    keys: tuple[bytes, ...] = verify.signer_keys,
    key_files: tuple[str, ...] = verify.signer_key_files,
    settings: dict[str, Any] = options.trust,
    out: options.Output = options.written(Format.HTML, Format.JSON, quiet=False),
) -> int:
    """Report what is known of one place, for its review.

    The sources are the history and evidence bundles. Says since when TLS is intercepted, to which hosts, how sure that
    is, and includes the attempts to disprove it, other explanations, and what the evidence does not show. It is the
    basis for reviewing an institution's usage rights. Every bundle is assessed again, as by `detector verify`; one that
    does not hold is named and left out. What is only possible is listed as uncertain and names nobody.
    """
    if place is None and not bundles:
        raise HistoryError(
            "No history and no evidence bundle was named.",
            advice="Give --history FILE|URL, set DETECTOR_HISTORY, or name bundles.",
        )
    made = utc_now()
    since = None if days is None else made - dt.timedelta(days=days)
    with common.result_stream(out.file) as stream:
        reader = verify.brought(keys, key_files, Expectations(**settings))
        gathering, known = _from_bundles(bundles, reader, vantage, since)
        unfinished = 0
        if place is not None:
            with naming(common.HISTORY), common.open_history(place) as history:
                unfinished = _from_history(gathering, history, since, known)
        found = gathering.dossier(made=made, unfinished_runs=unfinished)
        stream.write(common.as_json(found) if out.form is Format.JSON else reports.render_dossier(found))
    return common.CLEAN


class _Key(NamedTuple):
    """What distinguishes two results: the same run can be in a history and in several copies of its bundle."""

    started: dt.datetime
    endpoint: str
    reason: Reason
    leaf: str

    @classmethod
    def by(cls, item: Item) -> Self:
        result = item.result
        leaf = result.observation.chain[0].sha256 if result.observation.chain else ""
        return cls(item.at, result.endpoint.name, result.reason, leaf)


def _from_bundles(
    paths: Iterable[str], reader: dict[str, Any], vantage: str | None, since: dt.datetime | None
) -> tuple[Gathering, set[_Key]]:
    """Collect what bundles show, one after the other. Returns the dossier so far and the keys of its results.

    Raises `BundleError` for a file that is not a bundle, and where it is not clear which place the dossier is on.
    """
    gathering = None if vantage is None else Gathering(vantage)
    first, place = "", vantage
    known: set[_Key] = set()
    for path in paths:
        data, verification = verify.assess(path, reader)
        source = f"bundle {Path(path).name} (SHA-256 {hashlib.sha256(data).hexdigest()})"
        where = verification.report.vantage
        if gathering is None or place is None:
            first, place, gathering = path, where, Gathering(where)
        if where != place:
            if vantage is None:
                raise BundleError(
                    f"{path} is of {_named(where)}, {first} of {_named(place)}; a dossier is on one place.",
                    advice="Give --vantage NAME to say which.",
                )
            say(f"{path}: of {_named(where)}, not of {_named(place)}; it was left out.")
            continue
        if since is not None and verification.report.started < since:
            continue
        if verification.conclusion == "fails":
            gathering.leave_out(source, " ".join(verification.reasons))
            continue
        for item in _items(verification, source):
            gathering.note_source(item)
            if _Key.by(item) not in known:
                known.add(_Key.by(item))
                gathering.add(item)
    return gathering or Gathering(vantage or ""), known


def _named(vantage: str) -> str:
    return f"“{printable(vantage)}”" if vantage else "a place without a name"


def _items(verification: Verification, source: str) -> Iterator[Item]:
    """The results of a bundle, assessed again now."""
    report = verification.report
    trusted = verification.signature == "signed"
    signers = ", ".join(signature.key for signature in verification.signatures) or "nobody"
    verified = f"{_HOLDS[verification.conclusion]}; signed by {signers}"
    for result in report.results:
        yield Item(report.started, report.vantage, result, source, verified, trusted)


def _from_history(gathering: Gathering, history: History, since: dt.datetime | None, known: set[_Key]) -> int:
    """Add what the history has of the place and no bundle had. Returns the number of its unfinished runs."""
    vantage = gathering.vantage
    for seen in history.occurrences(vantage=vantage, since=since):
        item = Item(seen.at, seen.vantage, seen.result, f"run {seen.run} of {history.name}")
        if _Key.by(item) not in known:
            gathering.add(item)
    return sum(run.finished is None for run in history.runs(vantage=vantage, since=since, limit=RUNS_MOST))
