"""Write docs/decisions.md from the decision table and a template. For maintainers; a test holds the page against it.

Room: scripts. Reads scripts/templates/decisions.md, writes docs/decisions.md.

    python scripts/build_decisions.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from detector.judge.evidence import Identity
from detector.report.rules import markdown
from detector.trust.classes import ChainClass

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "decisions.md"
TEMPLATE: Final = Path(__file__).with_name("templates") / "decisions.md"

IDENTITIES: Final[dict[Identity, str]] = {
    Identity.STATED: "a canary of the knowledge, or an endpoint whose pin file names its public roots (`roots`)",
    Identity.PINNED_PUBLIC: "pins that were learned from a chain that was accepted and logged (the pin file records it), "
    "or hand-written pins of a known public CA's key. An expired pin file loses its pins, not its identity",
    Identity.SEEN: "genuine (clean as witnessed, pinned or logged, key proved) to another probe of this run, or in the "
    "history that is given",
    Identity.DECLARED: "the pin file declares private roots. An endpoint may have both identities: a chain to the declared "
    "root is read as declared, any other as public",
}
CLASSES: Final[dict[ChainClass, tuple[str, str]]] = {
    ChainClass.ACCEPTED: (
        "leads to a public root by a path that a careful TLS client takes at that moment: algorithms, CA bit, path length, "
        "key usage, EKU, name constraints, dates of every certificate, key sizes, lifetime limits of its time",
        "clear",
    ),
    ChainClass.DECLARED: (
        "leads to a root that the pin file declares for this endpoint; clears when the path is accepted but for the lifetime "
        "limits of public roots and their timestamps",
        "clear",
    ),
    ChainClass.RETIRED: (
        "leads to a root that is or was public, and only the root's removal or a date of the chain forbids the path",
        "neither, but for pins, marks, hashes and a witness",
    ),
    ChainClass.DEFECTIVE: (
        "leads to a public root, but no client takes it, for another reason than dates",
        "be accused",
    ),
    ChainClass.ADDED: ("leads to a root that a person or a policy put on this machine", "be accused"),
    ChainClass.UNFAMILIAR: (
        "leads to a root that the knowledge does not have and of which nobody knows who put it there",
        "be accused, mildly",
    ),
    ChainClass.UNREADABLE: (
        "its signatures cannot be verified by form: an unknown algorithm, key type or parameters",
        "neither, at first",
    ),
    ChainClass.INCOMPLETE: (
        "the leaf's issuer is not available, and the leaf embeds as many timestamps of known logs as browsers ask for",
        "be accused, mildly",
    ),
    ChainClass.PRIVATE: ("none of these", "be accused"),
}


def page() -> str:
    """The whole page."""
    identities = "\n".join(f"* **{identity}**: {text}." for identity, text in IDENTITIES.items())
    rows = [f"| {kind} | {when} | {may} |" for kind, (when, may) in CLASSES.items()]
    text = TEMPLATE.read_text("utf-8")
    for mark, content in {
        "{identities}": identities,
        "{classes}": "\n".join(["| class | when the chain | may |", "|---|---|---|", *rows]),
        "{table}": markdown(),
    }.items():
        text = text.replace(mark, content)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
