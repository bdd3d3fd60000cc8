"""Chains of real sites and real interceptors from a folder, as scenes.

Forms: x509-limbo's JSON (`*.json` with `peer_certificate`; genuine); `pairs.json` with a list `pairs` of {role,
subject, not_before, pem} (genuine if the role starts so, else forged); and served chains as DER files `NAME_1.crt` (the
leaf), `NAME_2.crt`, … (genuine). Suites of path validation (`*.json` with `testcases`) are skipped: they are about what
clients accept, not about interception.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import itertools
import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detector import Endpoint, Outcome
from detector.errors import LearnError
from detector.judge.evidence import Context, EndpointEvidence
from detector.knowledge import data_set
from detector.knowledge.roots import machine_roots
from detector.pins import learn, parse_host
from detector.trust.certificate import Certificate

from .material import Item, Known, Scene, Truth, known_of, observe
from .past import UPDATED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .past import Knowledge

DAY_AFTER_ISSUE: Final = dt.timedelta(days=1)
"""A certificate without a date of capture is assessed this long after its issue."""
NO_PINS: Final = "no pins"
PINS_OF_ANOTHER_DATE: Final = "pins of another date"
GENUINE_CAPTURES: Final = "captured, genuine"
GENUINE_TO_OLD_COPIES: Final = "captured, genuine, seen by a copy that is out of date"
FORGED_CAPTURES: Final = "captured, forged by mitmproxy"
_SERVED: Final = re.compile(r"(?P<name>.+)_(?P<number>\d+)\.crt")


class Sample(NamedTuple):
    """One captured chain of known truth."""

    name: str
    site: str
    host: str
    at: dt.datetime
    chain: tuple[bytes, ...]
    genuine: bool


def samples(folder: Path) -> Iterator[Sample]:
    """Yield every chain below a folder. Raises ValueError for a file in none of the forms."""
    for file in sorted(folder.rglob("*.json")):
        try:
            content = json.loads(file.read_text("utf-8"))
            if isinstance(content, dict) and "peer_certificate" in content:
                yield _limbo_sample(file, content)
            elif isinstance(content, dict) and "pairs" in content:
                yield from _pair_samples(file, content["pairs"])
            elif not (isinstance(content, dict) and "testcases" in content):
                refusal = "neither a limbo chain nor a list of pairs; move it out of the folder"
                raise ValueError(refusal)  # noqa: TRY301 - reported with the file's name like the others
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}: {error!s}.") from error
    yield from _served_samples(folder)


def _limbo_sample(file: Path, content: dict[str, Any]) -> Sample:
    host = content["expected_peer_name"]["value"]
    chain = (content["peer_certificate"], *content["untrusted_intermediates"])
    at = dt.datetime.fromisoformat(content["validation_time"])
    return Sample(file.name, host, host, at, tuple(map(_pem_to_der, chain)), genuine=True)


def _pair_samples(file: Path, pairs: list[dict[str, Any]]) -> Iterator[Sample]:
    """Yield single leaves, genuine and forged."""
    for number, pair in enumerate(pairs):
        der = _pem_to_der(pair["pem"])
        host = _host_of(der)
        at = dt.datetime.fromisoformat(pair["not_before"]) + DAY_AFTER_ISSUE
        yield Sample(f"{file.name}#{number}", host, host, at, (der,), genuine=pair["role"].startswith("genuine"))


def _served_samples(folder: Path) -> Iterator[Sample]:
    """Yield chains from DER files, one certificate each, numbered in the order served."""
    chains: dict[tuple[Path, str], list[tuple[int, bytes]]] = defaultdict(list)
    for file in sorted(folder.rglob("*.crt")):
        if (named := _SERVED.fullmatch(file.name)) is None:
            raise ValueError(f"{file}: not named NAME_NUMBER.crt; move it out of the folder.")
        chains[file.parent, named["name"]].append((int(named["number"]), file.read_bytes()))
    for (parent, name), numbered in chains.items():
        chain = tuple(der for _, der in sorted(numbered))
        not_before = Certificate.read(chain[0]).not_before
        if not_before is None:
            raise ValueError(f"{parent / name}_1.crt: not a certificate in DER; move it out of the folder.")
        host = _host_of(chain[0])
        yield Sample(name, host, host, not_before + DAY_AFTER_ISSUE, chain, genuine=True)


def _pem_to_der(text: str) -> bytes:
    """Return the first certificate in PEM text."""
    blocks = text.split("-----")
    if len(blocks) < 3:  # noqa: PLR2004 - before, label, body
        raise ValueError("a certificate in it is not PEM")
    try:
        return base64.b64decode("".join(blocks[2].split()), validate=True)
    except binascii.Error as error:
        raise ValueError("a certificate in it is not base64") from error


def _host_of(der: bytes) -> str:
    """Return a host of a leaf."""
    leaf = Certificate.read(der)
    common_name = leaf.subject.get("CN") if leaf.subject else None
    return parse_host((leaf.dns_names or (common_name or "unknown.invalid",))[0].replace("*.", "www."))


def _learned(sample: Sample, knowledge: Knowledge) -> Endpoint | None:
    """Return the endpoint with pins as `detector pins learn` writes them from this capture; None if it refuses."""
    day = sample.at.date()
    context = Context(at=sample.at, data=data_set.shipped(), roots=knowledge.roots(day), logs=knowledge.logs(day))
    seen = observe(sample.chain, outcome=Outcome.EXAMINED)
    try:
        return learn(EndpointEvidence(Endpoint(host=sample.host), seen, context))
    except LearnError:
        return None


def scenes(material: Sequence[Sample], knowledge: Knowledge) -> Iterator[Scene]:
    """Yield every sample without pins, and with the pins of every other genuine capture of the same site.

    Genuine ones are also assessed by older copies of the package, unchanged and with the update of the day, with and
    without stated roots, on machines with old and new stores.
    """
    by_site: dict[str, list[Sample]] = defaultdict(list)
    for sample in material:
        if sample.genuine:
            by_site[sample.site].append(sample)
    learned = {id(s): _learned(s, knowledge) for s in material if s.genuine}

    def scene(sample: Sample, setting: str, endpoint: Endpoint, known: Known | None = None) -> Scene:
        truth = Truth.GENUINE if sample.genuine else Truth.INTERCEPTED
        item = Item(endpoint, observe(sample.chain, outcome=Outcome.EXAMINED), truth, known)
        group = GENUINE_CAPTURES if sample.genuine else FORGED_CAPTURES
        public, logs = knowledge.roots(sample.at.date()), knowledge.logs(sample.at.date())
        return Scene(group, sample.name, setting, sample.at, (item,), public, logs, operating_system=machine_roots())

    for sample in material:
        yield scene(sample, NO_PINS, Endpoint(host=sample.host))
        for other in by_site.get(sample.site, ()):
            endpoint = learned[id(other)]
            if other is not sample and endpoint is not None:
                known = known_of([other.chain[0]], other.chain[1:])
                yield scene(sample, PINS_OF_ANOTHER_DATE, endpoint, known)
        served = sample.genuine and len(sample.chain) > 1  # no server presented a leaf without its chain
        for age, days in knowledge.ages.items() if served else ():
            then = sample.at.date() - dt.timedelta(days=days)
            for identity, store in itertools.product(((), ("stated",)), knowledge.stores(then, sample.at.date())):
                one = scene(sample, f"{age}{UPDATED}", Endpoint(host=sample.host, roots=identity))
                one = one._replace(group=GENUINE_TO_OLD_COPIES, installed=store)
                yield one._replace(setting=age, public=knowledge.roots(then), logs=knowledge.logs(then))
                yield one
