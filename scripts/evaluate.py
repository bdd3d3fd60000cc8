"""Judge a folder of chains with known ground truth and print how often the judgement was wrong.

    python scripts/evaluate.py FOLDER [--roots PEM] [--ct-logs FILE]

Reads, below FOLDER: chains in x509-limbo's JSON form (`*.json` with `peer_certificate`; genuine), and `pairs.json`
with a list `pairs` of {role, subject, not_before, pem} (role starting with `genuine`: genuine, else forged). Every
chain is judged at its own date. Chains of a site that was captured more than once are judged three times: without
pins, and with pins learned from every other capture of the same site (worst result counts).

Wrong is: a genuine chain called middleware at `probable` or above; a forged one not called middleware. Every wrong
row is listed, and every genuine chain that is called `possible`. Exit code 1 when there is a wrong row.
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import detector
from detector.pins import PinSet
from detector.session import resolve_logs, resolve_roots
from detector.trust import paths
from detector.trust.certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.trust.logs import LogList
    from detector.trust.roots import Roots

DAY_AFTER_ISSUE = dt.timedelta(days=1)
"""A certificate given without a date of capture is judged this long after it was issued."""


class Sample(NamedTuple):
    """One chain whose truth is known."""

    name: str
    site: str
    host: str
    at: dt.datetime
    chain: tuple[bytes, ...]
    genuine: bool


class Row(NamedTuple):
    """One judgement of one sample."""

    sample: Sample
    pins: str
    result: detector.Result

    @property
    def answer(self) -> str:
        """The verdict with its confidence or assurance."""
        result = self.result
        return f"{result.verdict} {result.confidence or result.assurance or result.reason}"

    @property
    def wrong(self) -> bool:
        """Whether this judgement is a false accusation or a false all-clear."""
        accused = self.result.verdict is detector.Verdict.MIDDLEWARE
        if not self.sample.genuine:
            return not accused
        return accused and self.result.confidence is not detector.Confidence.POSSIBLE


def pem_to_der(text: str) -> bytes:
    """The first certificate in PEM text."""
    return base64.b64decode("".join(text.split("-----")[2].split()))


def samples(folder: Path) -> Iterator[Sample]:
    """Every chain below a folder. Raises ValueError naming the file that is in neither form."""
    for file in sorted(folder.rglob("*.json")):
        content = json.loads(file.read_text("utf-8"))
        if "peer_certificate" in content:
            yield limbo_sample(file, content)
        elif "pairs" in content:
            yield from pair_samples(file, content["pairs"])
        else:
            raise ValueError(f"{file}: neither a limbo chain nor a list of pairs; move it out of the folder.")


def limbo_sample(file: Path, content: dict[str, Any]) -> Sample:
    """A chain in x509-limbo's form."""
    host = content["expected_peer_name"]["value"]
    chain = (content["peer_certificate"], *content["untrusted_intermediates"])
    at = dt.datetime.fromisoformat(content["validation_time"])
    return Sample(file.name, host, host, at, tuple(map(pem_to_der, chain)), genuine=True)


def pair_samples(file: Path, pairs: list[dict[str, Any]]) -> Iterator[Sample]:
    """Single leaves, genuine and forged."""
    for number, pair in enumerate(pairs):
        der = pem_to_der(pair["pem"])
        leaf = Certificate.read(der)
        host = (leaf.dns_names or (leaf.subject.get("CN") if leaf.subject else None) or "unknown.invalid",)[0]
        host = (host[0] if isinstance(host, tuple) else host).replace("*.", "www.")
        at = dt.datetime.fromisoformat(pair["not_before"]) + DAY_AFTER_ISSUE
        yield Sample(f"{file.name}#{number}", "", host, at, (der,), genuine=pair["role"].startswith("genuine"))


def learn(sample: Sample, roots: Roots) -> PinSet:
    """Pins as `detector pins learn` would have taken them from this capture: leaf and CA keys of verified paths."""
    presented = [Certificate.read(der) for der in sample.chain]
    found = paths.build(presented, (roots,))
    keys = {c.spki_sha256 for path in found.paths for c in path.certificates if c.spki_sha256}
    endpoint = detector.Endpoint(host=sample.host, pins=tuple(sorted(keys)))
    return PinSet(name=sample.name, endpoints=(endpoint,))


def judge(sample: Sample, pins: PinSet | None, roots: Roots, logs: LogList) -> detector.Result:
    """Judge one sample at its own date."""
    return detector.examine(sample.chain, host=sample.host, at=sample.at, pins=pins, roots=roots, logs=logs)


def rows(material: list[Sample], roots: Roots, logs: LogList) -> Iterator[Row]:
    """Every judgement."""
    by_site: dict[str, list[Sample]] = defaultdict(list)
    for sample in material:
        if sample.site:
            by_site[sample.site].append(sample)
    learned = {id(sample): learn(sample, roots) for group in by_site.values() for sample in group}
    for sample in material:
        yield Row(sample, "no pins", judge(sample, None, roots, logs))
        others = [other for other in by_site.get(sample.site, ()) if other is not sample]
        if others:
            results = [Row(sample, "pins of another date", judge(sample, learned[id(o)], roots, logs)) for o in others]
            yield next((row for row in results if row.wrong), None) or max(
                results, key=lambda row: row.result.verdict is detector.Verdict.MIDDLEWARE
            )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--roots", type=Path, help="PEM file that replaces certifi's roots")
    parser.add_argument("--ct-logs", type=Path, help="Google log list v3 JSON that replaces the shipped list")
    options = parser.parse_args()
    if not options.folder.is_dir():
        parser.error(f"{options.folder}: not a folder")
    try:
        roots, logs = resolve_roots(options.roots), resolve_logs(options.ct_logs)
        material = list(samples(options.folder))
    except (ValueError, KeyError) as error:
        parser.error(str(error))
    if not material:
        parser.error(f"{options.folder}: no chain below it")
    judged = list(rows(material, roots, logs))

    print(f"{len(material)} chains from {options.folder}, judged with {roots.name} {roots.version}, logs {logs.date}\n")
    table = Counter((row.pins, "genuine" if row.sample.genuine else "forged", row.answer) for row in judged)
    print(f"{'pins':<22}{'truth':<10}{'answer':<32}{'count':>6}")
    for (pins, truth, answer), count in sorted(table.items()):
        print(f"{pins:<22}{truth:<10}{answer:<32}{count:>6}")

    wrong = [row for row in judged if row.wrong]
    uncertain = [row for row in judged if row.sample.genuine and not row.wrong and row.answer.startswith("middleware")]
    for title, listed in (("wrong", wrong), ("genuine but possible (listed with its alternatives)", uncertain)):
        print(f"\n{title}: {len(listed)}")
        for row in listed:
            alternatives = ", ".join(row.result.alternatives)
            print(f"  {row.sample.name}: {row.answer}, row {row.result.row}, {row.pins}; alternatives: {alternatives}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
