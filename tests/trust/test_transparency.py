"""Embedded timestamps: signatures count, presence does not, and unknown is never evidence."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.testing.pki import encode_sct_list
from detector.trust import der, transparency
from detector.trust import logs as ct_logs
from detector.trust.certificate import OID_SCT_LIST, Certificate
from detector.trust.transparency import Logging, SCTStatus

if TYPE_CHECKING:
    from detector.testing import Issued, PrivatePKI
    from detector.trust.logs import LogList


@pytest.fixture(scope="module")
def logs(pki: PrivatePKI) -> LogList:
    return ct_logs.parse(pki.ct_log_list_json(), name="test")


def checked(issued: Issued, logs: LogList, *, with_issuer: bool = True) -> list[SCTStatus]:
    leaf, *issuers = map(Certificate.read, issued.chain)
    return [sct.status for sct in transparency.check(leaf, issuers if with_issuer else (), logs)]


def test_statuses(pki: PrivatePKI, logs: LogList) -> None:
    """Valid, badly signed, of an unknown log, and without an issuer to check against."""
    issue = pki.issue
    host = ["exam.example.edu"]
    assert checked(issue(host, scts=4), logs) == [SCTStatus.VALID] * 4
    assert checked(issue(host, bad_sct_signature=True), logs) == [SCTStatus.INVALID_SIGNATURE] * 2
    assert checked(issue(host, foreign_sct=True), logs) == [SCTStatus.UNKNOWN_LOG] * 2
    assert checked(issue(host), logs, with_issuer=False) == [SCTStatus.NOT_CHECKABLE] * 2
    assert checked(issue(host, scts=0), logs) == []


def logging_of(issued: Issued, logs: LogList, *, with_issuer: bool = True) -> Logging:
    leaf, *issuers = map(Certificate.read, issued.chain)
    return transparency.logging(leaf, transparency.check(leaf, issuers if with_issuer else (), logs), logs)


def test_one_log_twice_is_one_log(pki: PrivatePKI, logs: LogList) -> None:
    """Two timestamps of the same log are one witness, not two."""
    log = pki.ct_logs[0]

    def twice(tbs: bytes, issuer_key_hash: bytes) -> list[bytes]:
        return [log.sct(tbs, issuer_key_hash, at=pki.now - dt.timedelta(seconds=s)) for s in (1, 2)]

    issued = pki.intermediate_ec.issue(["exam.example.edu"], sct_list=twice)
    assert checked(issued, logs) == [SCTStatus.VALID] * 2
    assert logging_of(issued, logs) is Logging.UNKNOWN


def test_logging_needs_an_age_and_a_young_list(pki: PrivatePKI, logs: LogList) -> None:
    """Unlogged is said only of certificates young enough to have to be logged and of lists young enough to know."""
    unlogged = pki.issue(["exam.example.edu"], scts=0)
    assert logging_of(unlogged, logs) is Logging.UNLOGGED
    before = pki.issue(["exam.example.edu"], scts=0, not_before=dt.datetime(2018, 4, 1, tzinfo=dt.UTC))
    assert logging_of(before, logs) is Logging.UNKNOWN
    old = ct_logs.LogList(name="old", date=pki.now.date() - dt.timedelta(days=700), logs=logs.logs, untrusted={})
    assert logging_of(unlogged, old) is Logging.UNKNOWN
    undated = ct_logs.LogList(name="undated", date=None, logs=logs.logs, untrusted={})
    assert logging_of(unlogged, undated) is Logging.UNKNOWN
    assert logging_of(pki.issue(["exam.example.edu"]), old) is Logging.LOGGED


def test_forged_copy_of_a_logged_certificate(pki: PrivatePKI, logs: LogList) -> None:
    """The same names under another issuer's key invalidate every timestamp."""
    genuine = pki.issue(["exam.example.edu"])
    ca = pki.private_ca("Filter CA")
    copied = Certificate.read(genuine.leaf).extensions[OID_SCT_LIST]
    forged = ca.issue(copy_from=genuine.leaf, sct_list=copied).with_chain(b"")
    leaf = Certificate.read(ca.issue(copy_from=genuine.leaf, sct_list=copied).leaf)
    statuses = [sct.status for sct in transparency.check(leaf, [Certificate.read(ca.certificate)], logs)]
    assert statuses == [SCTStatus.INVALID_SIGNATURE] * 2
    assert forged is not None


@given(st.binary(max_size=200), st.booleans())
def test_any_list_is_read_or_refused(content: bytes, well_framed: bool) -> None:  # noqa: FBT001 - an example
    """An SCT list of a peer's choice is timestamps or None, never an exception."""
    if well_framed:
        content = encode_sct_list([content])
    certificate = Certificate.read(b"")
    certificate.__dict__["extensions"] = {OID_SCT_LIST: der.encode(der.OCTET_STRING, content)}
    found = transparency.embedded(certificate)
    assert found is None or all(len(sct.log_id) <= 32 for sct in found)
