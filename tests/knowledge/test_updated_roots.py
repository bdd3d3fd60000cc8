"""What an updated data set makes of roots and CAs: removed, listed again, distrusted, limited, revoked.

Room: tests of knowledge. The roots of the test PKI are listed next to the shipped ones, as a new root would be.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from support.worlds import EXAM, said

from detector.judge.assess import assess_all
from detector.judge.evidence import Context, EndpointEvidence
from detector.knowledge import ct_logs, data_set
from detector.knowledge.data_set import ROOT_CERTIFICATES, DataSet
from detector.knowledge.known_roots import KnownRoot
from detector.knowledge.store import Manifest, StoredSet
from detector.model import Endpoint, Observation, Outcome
from detector.trust.certificate import Certificate
from detector.trust.roots import NO_LIMITS, Limits, label_of

if TYPE_CHECKING:
    from detector_testing import Issued, PrivatePKI

    from detector.model import Result

DAY: Final = dt.timedelta(days=1)
FOLDER: Final = Path("sets") / "1-00000000"


class Update:
    """Makes updated sets: the shipped roots, and those of the test PKI, of which `changes` are those of root B."""

    def __init__(self, pki: PrivatePKI) -> None:
        self.pki = pki
        self.today = pki.now.date()
        self.issued = pki.issue([EXAM])

    def to(
        self, *, without: str | None = None, revocations: dict[str, Any] | None = None, **changes: object
    ) -> DataSet:
        """What a machine knows with this update."""
        shipped = data_set.shipped()
        roots = list(zip(shipped.known_roots.roots, shipped.root_certificates, strict=True))
        own = [self._root(self.pki.root_a.certificate), self._root(self.pki.root_b.certificate, **changes)]
        ders = [self.pki.root_a.certificate, self.pki.root_b.certificate]
        listed = [(one, der) for one, der in (*roots, *zip(own, ders, strict=True)) if one.label != without]
        head = {"schema": 3, "version": 9, "date": self.today, "horizon": self.today + 180 * DAY}
        files: dict[str, dict[str, Any]] = {
            "roots.json": {**head, "versions": shipped.known_roots.versions, "roots": [one for one, _ in listed]},
            ROOT_CERTIFICATES: {**head, "certificates": [der for _, der in listed]},
        }
        if revocations is not None:
            files["revocations.json"] = {**head, "schema": 1, "sources": [], **revocations}
        manifest = Manifest(repository="test", version=1, published=self.pki.now, files={})
        return DataSet(StoredSet(FOLDER, manifest, {name: msgspec.json.encode(one) for name, one in files.items()}))

    @staticmethod
    def _root(der: bytes, **changes: Any) -> KnownRoot:  # noqa: ANN401 - fields of KnownRoot
        read = Certificate.read(der)
        assert read.spki_sha256 is not None
        assert read.subject is not None
        return KnownRoot(
            label=label_of(read),
            sha256=read.sha256.hex(),
            spki_sha256=read.spki_sha256.hex(),
            subject=read.subject.text,
            first_seen="2026.1.4",
            last_seen="2026.1.4",
            **changes,
        )

    def result(self, data: DataSet, issued: Issued | None = None, *, days_ago: int = 0) -> Result:
        """The result for a chain below root B, so many days ago."""
        at = self.pki.now - days_ago * DAY
        chain = tuple(Certificate.read(der).presented() for der in (issued or self.issued).chain)
        seen = Observation(outcome=Outcome.COMPLETE, key_proved=True, scts_carried=True, chain=chain)
        logs = ct_logs.parse(self.pki.ct_log_list_json(), name="test logs")
        roots = data.public_roots(at.date() if days_ago else None)
        context = Context(at=at, data=data, roots=roots, logs=logs)
        return assess_all([EndpointEvidence(Endpoint(host=EXAM), seen, context)])[0]


@pytest.fixture(scope="module")
def update(pki: PrivatePKI) -> Update:
    return Update(pki)


def test_a_root_that_an_update_removes_is_retired(update: Update) -> None:
    """It stays known with key and day: its chains accuse nobody, clear nothing, and were good before that day."""
    removed = update.to(removed=update.today - 5 * DAY)
    key = update.pki.root_b.spki_sha256
    assert key in removed.known_roots.keys
    assert key not in removed.public_roots().keys
    assert key in removed.public_roots().retired.keys
    assert said(update.result(removed)) == ("inconclusive", "retired")
    assert said(update.result(removed, days_ago=6)) == ("logged", "logged")
    assert removed.warnings == []


def test_a_root_that_an_update_lists_again_is_public(update: Update) -> None:
    """A later update without the day of removal makes it public as before."""
    again = update.to()
    assert update.pki.root_b.spki_sha256 in again.public_roots().keys
    assert said(update.result(again)) == ("logged", "logged")


def test_an_update_that_forgets_a_root_is_left_out(update: Update) -> None:
    """A list without a root that the shipped one has would call its chains private: the shipped list serves."""
    forgetful = update.to(without="ISRG Root X1")
    assert forgetful.known_roots == data_set.shipped().known_roots
    assert forgetful.root_certificates == data_set.shipped().root_certificates
    (warning,) = forgetful.warnings
    assert "roots.json: lacks 1 of the roots of an older list, ISRG Root X1 among them." in warning


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("logged", "logged")),
        ({"distrust_after": dt.date(2020, 1, 1)}, ("possible", "defective-chain")),
        ({"distrust_after": dt.date(2099, 1, 1)}, ("logged", "logged")),
        ({"permitted_names": ("example.org",)}, ("possible", "defective-chain")),
        ({"permitted_names": ("example.org", "edu")}, ("logged", "logged")),
        ({"removed": dt.date(2026, 1, 1), "distrust_after": dt.date(2020, 1, 1)}, ("possible", "defective-chain")),
        ({"removed": dt.date(2026, 1, 1), "distrust_after": dt.date(2099, 1, 1)}, ("inconclusive", "retired")),
    ],
)
def test_limits_that_an_update_brings(changes: dict[str, Any], expected: tuple[str, str], update: Update) -> None:
    """The limits of a root act whether it is public or was removed since; a day that has not come changes nothing."""
    assert said(update.result(update.to(**changes, limits_source="test"))) == expected


def test_a_revocation_that_an_update_brings(update: Update) -> None:
    """A revoked CA makes the path defective from the day it was listed; another certificate of the CA clears."""
    read = Certificate.read(update.pki.intermediate_ec.certificate)
    assert read.issuer is not None
    assert read.serial is not None
    serial = read.serial.to_bytes(20, "big", signed=True)
    listed = {"issuer": read.issuer.der, "serials": {(update.today - 5 * DAY).isoformat(): [serial]}}
    revoked = update.to(revocations={"issuers": [listed], "keys": []})
    assert said(update.result(revoked)) == ("possible", "defective-chain")
    assert said(update.result(revoked, days_ago=6)) == ("logged", "logged")
    assert said(update.result(revoked, update.pki.issue([EXAM], key="rsa"))) == ("logged", "logged")


@pytest.mark.parametrize("domain", ["", ".", "a..b", "*.edu", "Edu", "a b", "edu\n", "x" * 254])
def test_only_domains_limit_a_root(domain: str, update: Update) -> None:
    """A limit that is no domain makes the list one that is left out, not a root without limits."""
    odd = update.to(permitted_names=(domain,))
    assert odd.known_roots == data_set.shipped().known_roots
    assert "permitted_names" in odd.warnings[0]


def test_the_shipped_limits_are_those_of_single_roots() -> None:
    """Every limit names its source, and most roots have none."""
    limited = [root for root in data_set.shipped().known_roots.roots if root.limits != NO_LIMITS]
    assert len(limited) < len(data_set.shipped().known_roots.roots) / 4
    assert all(root.limits_source for root in limited)
    for root in data_set.shipped().public_roots().roots:
        known = {one.sha256: one.limits for one in data_set.shipped().known_roots.roots}
        assert root.limits == known.get(root.certificate.sha256.hex(), Limits())
