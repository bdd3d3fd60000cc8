"""The audit as a table: one sentence with the result, one with what to do, then a row for each root beyond.

Room: audit. Pure: returns rich renderables, which the caller prints. Nothing from a certificate is treated as markup,
and names come from `trust.name` with control characters escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from detector.knowledge.age import describe
from detector.model import Detail

from .entries import Kind, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from .entries import AuditedRoot, AuditReport

NAMED_MOST: Final = 3
"""Roots named in the first sentence; the table below it has them all."""
STORES_MOST: Final = 4
"""Stores named in one row; JSON has them all."""
HASH_SHOWN: Final = 16
"""Hexadecimal digits of a hash in the table, enough to find the root; JSON has it whole."""

_STYLE: Final[dict[Verdict, str]] = {
    Verdict.PUBLIC_ONLY: "bold green",
    Verdict.INTERCEPTOR_TRUSTED: "bold red",
    Verdict.UNKNOWN_TRUSTED: "bold yellow",
    Verdict.INCOMPLETE: "bold yellow",
}
_BY_ITSELF: Final = (
    "By itself an installed root decrypts nothing: run `detector check` on the network in question to see whether it "
    "is used"
)


def headline(report: AuditReport) -> str:
    """The result in one sentence."""
    leaked = [root for root in report.beyond if root.kind is Kind.LEAKED_KEY]
    interceptors = [root for root in report.beyond if root.kind is Kind.INTERCEPTOR]
    others = len(report.beyond) - len(leaked) - len(interceptors)
    if not report.beyond:
        if report.verdict is Verdict.INCOMPLETE:
            return "No root beyond the public set was found, but not every store could be read."
        if report.trusted == 0:
            return "No trusted root was found."
        return f"None of {_count(report.trusted, 'trusted root')} was added to the public ones and the system's own."
    said = []
    if leaked:
        said.append(f"{_count(len(leaked), 'root')} whose private key is public ({_products(leaked)})")
    if interceptors:
        said.append(f"{_count(len(interceptors), 'root')} of known interception products ({_products(interceptors)})")
    if others:
        rest = f"{_count(others, 'other root' if said else 'root')} beyond the public set"
        said.append(rest if said else f"{rest}, none of a known interception product")
    return f"Trusted here: {('; ' if said[2:] else ' and ').join(said)}."


def what_to_do(report: AuditReport) -> str:
    """What a reader can do. Nobody is accused: who installed a root is not known here."""
    kinds = {root.kind for root in report.beyond}
    if Kind.LEAKED_KEY in kinds:
        return (
            "Have the root with the public key removed from every store listed: anyone on the route can use it to "
            "decrypt this machine's traffic."
        )
    if Kind.INTERCEPTOR in kinds:
        return f"{_BY_ITSELF}; ask the administrator of this device what it is for."
    if report.verdict is Verdict.UNKNOWN_TRUSTED:
        return f"Ask the administrator of this device what these roots are for. {_BY_ITSELF}."
    if report.verdict is Verdict.INCOMPLETE:
        return "Read what is listed as unreadable with the rights it needs, then audit again."
    return "Nothing needs to be done."


def render(report: AuditReport, detail: Detail = Detail.SUMMARY) -> RenderableType:
    """Two sentences, one row for each root beyond the public set, then what was audited; the first for the verdict."""
    verdict = Text(headline(report), style=_STYLE[report.verdict])
    if detail is Detail.VERDICT:
        return verdict
    parts: list[RenderableType] = [verdict, Text(what_to_do(report))]
    if report.beyond:
        parts += [Text(""), _table(report.beyond)]
    return Group(*parts, *(Text(line) for line in _footer(report)))


def _table(roots: Sequence[AuditedRoot]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for title in ("root", "is", "known as", "trusted by", "installed", "valid until", "sha256"):
        table.add_column(title, overflow="fold")
    for root in roots:
        more = len(root.stores) - STORES_MOST
        table.add_row(
            Text(root.subject or "unreadable"),
            Text(root.kind, style="bold red" if root.kind in (Kind.LEAKED_KEY, Kind.INTERCEPTOR) else ""),
            Text(_known_as(root)),
            Text("\n".join((*root.stores[:STORES_MOST], *([f"and {more} more"] if more > 0 else [])))),
            Text(f"{root.installed_at:%Y-%m-%d}" if root.installed_at else ""),
            Text((f"{root.not_after:%Y-%m-%d}" if root.not_after else "") + (" expired" if root.expired else "")),
            Text(root.sha256[:HASH_SHOWN]),
        )
    return table


def _known_as(root: AuditedRoot) -> str:
    if root.known is None:
        return ""
    named = _named(root.known.vendor, root.known.product)
    said = f"{named}; {root.known.category}, {root.known.managed_by}"
    if root.leaked_key is not None:
        return f"{said}; {root.leaked_key}"
    return said if root.known.strong or root.kind is Kind.LOCAL_CA else f"perhaps {said}"


def _named(vendor: str, product: str) -> str:
    return product if vendor.lower() in product.lower() else f"{vendor} {product}"


def _footer(report: AuditReport) -> Iterator[str]:
    yield ""
    for title, roots in (
        ("Shipped with the system, not in the public set", report.shipped),
        ("Public at some time since 2018, no longer", report.formerly_public),
        ("Installed but refused", report.distrusted),
    ):
        if roots:
            yield f"{title}: {len(roots)} (see --format json)."
    for store in report.unreadable:
        yield f"Unreadable: {store.store} {store.reason}."
    public = describe([report.public])
    yield (
        f"Audited {_count(report.trusted, 'trusted root')} in {_count(len(report.stores), 'store')} against {public}, "
        f"detector {report.detector_version}, {report.at:%Y-%m-%d %H:%M:%S} UTC."
    )


def _products(roots: Sequence[AuditedRoot]) -> str:
    names = list(dict.fromkeys(_named(root.known.vendor, root.known.product) for root in roots if root.known))
    more = len(names) - NAMED_MOST
    return ", ".join(names[:NAMED_MOST]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
