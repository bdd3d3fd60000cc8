"""How log lists age, measured on chains that real sites served. Room: tests of trust; reads a corpus if there is one.

"A list of age N" is the shipped list as it could have been made N days before the chain's notBefore: every log is taken
out that no list named, and of which no list dates a state, until then (`LogList.as_of`). Assessed at notBefore, by the
issuer that signed the leaf.
"""

from __future__ import annotations

import datetime as dt
import json
from base64 import b64decode
from collections import Counter
from typing import NamedTuple

import pytest
from support import corpora

from detector.knowledge import data_set
from detector.trust import transparency
from detector.trust.certificate import Certificate
from detector.trust.ct_logs import LIST_HORIZON
from detector.trust.signature import Signed, verify_issued


class Chain(NamedTuple):
    """A leaf, the certificates whose key signed it, and when it was issued."""

    leaf: Certificate
    issuers: tuple[Certificate, ...]
    not_before: dt.datetime


def read(pem: str) -> Certificate:
    return Certificate.read(b64decode("".join(pem.split("-----")[2].split())))


@pytest.fixture(scope="module")
def chains() -> list[Chain]:
    found = []
    for file in sorted(corpora.folder("genuine-chains").glob("*.json")):
        content = json.loads(file.read_text("utf-8"))
        leaf = read(content["peer_certificate"])
        others = map(read, (*content["untrusted_intermediates"], *content["trusted_certs"]))
        issuers = tuple(c for c in others if c.spki and verify_issued(leaf, c.spki) is Signed.VALID)
        assert leaf.not_before is not None
        found.append(Chain(leaf, issuers, leaf.not_before))
    return found


@pytest.mark.parametrize(
    ("days", "logged", "unknowable", "unlogged"),
    [
        (0, 116, 0, 0),
        (31, 116, 0, 0),
        (70, 116, 0, 0),
        (71, 116, 0, 0),
        (92, 116, 0, 0),
        (183, 115, 1, 0),
        (274, 108, 8, 0),
        (365, 102, 14, 0),
        (547, 65, 51, 0),
        (730, 30, 86, 0),
    ],
)
def test_genuine_chains_by_the_age_of_the_list(
    chains: list[Chain], days: int, logged: int, unknowable: int, unlogged: int
) -> None:
    """The figures of the design: an old list knows less and never makes a genuine chain unlogged."""
    found = Counter(
        transparency.assess(
            chain.leaf,
            chain.issuers,
            data_set.shipped().logs.as_of(chain.not_before.date() - dt.timedelta(days=days)),
            chain.not_before,
        ).logging
        for chain in chains
    )
    counts = tuple(found[outcome] for outcome in transparency.Logging)
    assert counts == (logged, unknowable, unlogged)


def test_every_timestamp_of_genuine_chains_is_valid(chains: list[Chain]) -> None:
    """By today's list no limit refuses any of them, and all lie within a day after notBefore."""
    checked = [
        (sct, chain.not_before)
        for chain in chains
        for sct in transparency.assess(chain.leaf, chain.issuers, data_set.shipped().logs, chain.not_before).scts
    ]
    assert len(checked) == 326
    assert {sct.status for sct, _ in checked} == {transparency.SCTStatus.VALID}
    delays = [sct.timestamp - not_before for sct, not_before in checked if sct.timestamp]
    assert min(delays) >= dt.timedelta(0)
    assert max(delays) < transparency.CLOCK_ALLOWANCE


def test_first_timestamps_come_long_after_first_listings(chains: list[Chain]) -> None:
    """What the horizon of ten weeks rests on: a log signs for these sites 118 days after its first listing at best."""
    listed = data_set.shipped().logs.logs
    firsts: dict[bytes, dt.date] = {}
    for chain in chains:
        for sct in transparency.assess(chain.leaf, chain.issuers, data_set.shipped().logs, chain.not_before).scts:
            assert sct.timestamp is not None
            firsts[sct.log_id] = min(firsts.get(sct.log_id, dt.date.max), sct.timestamp.date())
    gaps = [first - known for log_id, first in firsts.items() if (known := listed[log_id].first_known) is not None]
    assert min(gaps) >= dt.timedelta(days=118) > LIST_HORIZON
