"""Client certificates that a proxy passes on, and the reports that only they may send."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from detector_collect.assessment import Assessed, State
from detector_collect.service.settings import client_certificates
from detector_collect.store import keys
from detector_collect.store.schema import contents, evidence
from detector_collect.worker import MaterialConfig
from detector_collect.worker.work import Request, run
from detector_testing import PrivatePKI
from detector_testing.pki import to_pem
from support.collect_reports import PERSONAL, pin_report
from support.collect_service import MINUTE, SERVICE_KEY, SOUTH, SUBMISSION, counted, running_service, sealed
from support.collect_stores import NOW

from detector.errors import InputError
from detector.model import encode, json_text
from detector.outbox import contents as forms
from detector.outbox.submission import PAYLOAD_TYPE, Kind, Submission
from detector.trust.envelope import open_envelope, public_key_of

if TYPE_CHECKING:
    from detector_collect.store.database import Store
    from support.collect_service import Answered, Running

PEER = client_certificates(["127.0.0.0/8"])
PKI = PrivatePKI.create()
CERTIFICATE = PKI.self_signed(["report.north.example.edu"]).leaf
CHAIN = PKI.issue(["exam.example.org"]).chain
MATERIAL = MaterialConfig().read()
REPORT = pin_report(CHAIN, at=NOW - 30 * MINUTE)


def passed(certificate: bytes = CERTIFICATE) -> dict[str, str]:
    """The header of RFC 9440."""
    return {"Client-Cert": f":{base64.b64encode(certificate).decode()}:"}


def report(**changes: Any) -> bytes:  # noqa: ANN401 - any JSON
    """The report with other fields."""
    return pin_report(CHAIN, at=NOW - 30 * MINUTE, **changes)


async def register_certificate(store: Store, institution: str = "north") -> None:
    """Register the certificate."""
    name = f"certificate/{hashlib.sha256(CERTIFICATE).hexdigest()}"
    async with store.begin() as connection:
        await keys.add_key(connection, keys.Key(name, institution, "certificate", NOW, None, None, 600, 1 << 20))


async def send(service: Running, body: bytes, headers: dict[str, str], kind: str = "trustkit") -> Answered:
    """Send a report."""
    return await service.post(body, {"Content-Type": "application/json", **headers}, f"/v1/evidence?kind={kind}")


async def test_a_report_is_reduced_and_stored_once(store: Store) -> None:
    """Host, port, time and chain are kept, nothing of the device is; the same report again is known."""
    async with running_service(store, certificates=PEER) as service:
        await register_certificate(store)
        first, again = await send(service, REPORT, passed()), await send(service, REPORT, passed())
        other = await send(service, REPORT, passed(), "rfc7469")
    assert (first.status, again.status, other.status) == (201, 200, 201)
    assert first.body == again.body
    async with store.connect() as connection:
        row = (await connection.execute(sa.select(evidence).order_by(evidence.c.id).limit(1))).one()
        body = (await connection.execute(sa.select(contents.c.body).order_by(contents.c.evidence))).scalars().first()
    opened = open_envelope(body or b"", payload_type=PAYLOAD_TYPE, keys=[public_key_of(SERVICE_KEY)])
    assert PERSONAL.encode() not in opened.payload
    submission = json_text.decode(opened.payload, Submission)
    assert (submission.institution, submission.kind, submission.student) == ("north", Kind.TRUSTKIT, None)
    content = forms.decode(submission.kind, bytes(submission.content))
    assert content == forms.FailureContent(host="exam.example.org", port=443, at=submission.made, chain=CHAIN)
    assert (row.key.partition("/")[0], row.made) == ("certificate", submission.made)
    request = Request(body=body or b"", encoding="identity", digest=row.digest, keys=(row.key,))
    assert json_text.decode(run(encode(request), MATERIAL), Assessed).state is State.VERIFIED


async def test_reports_that_are_refused(store: Store) -> None:
    """No time, no chain, a private host, another time, no JSON: each is named, and nothing is stored."""
    refused = {
        "bad-content": [
            report(date_time=None), report(validated_certificate_chain=[]), b"[]", b"\xff", b"",
            report(hostname="x'); DROP TABLE evidence; --"), report(date_time="2027-01-01T00:00:00Z"),
        ],
        "identifying": [report(hostname="ada.local"), report(hostname="192.0.2.1")],
        "future-dated": [report(date_time="2026-11-30T20:00:00Z")],
        "too-old": [report(date_time="2026-01-01T00:00:00Z")],
    }  # fmt: skip
    async with running_service(store, certificates=PEER) as service:
        await register_certificate(store)
        before = await counted(store)
        for refusal, bodies in refused.items():
            assert [(await send(service, body, passed())).refusal for body in bodies] == [refusal] * len(bodies)
        assert (await send(service, REPORT, passed(), "bundle")).refusal == "media-type"
        assert (await send(service, REPORT, passed(), "x'; --")).refusal == "media-type"
        assert await counted(store) == before


async def test_a_certificate_counts_only_from_the_proxy(store: Store) -> None:
    """From another peer, unregistered, twice or in another form, it opens nothing."""
    async with running_service(store, certificates=client_certificates(["192.0.2.0/24"])) as service:
        await register_certificate(store)
        assert (await send(service, REPORT, passed())).refusal == "no-certificate"
    async with running_service(store, registers=False) as service:
        assert (await send(service, REPORT, passed())).refusal == "no-certificate"
    async with running_service(store, registers=False, certificates=PEER) as service:
        assert (await send(service, REPORT, {})).refusal == "no-certificate"
        assert (await send(service, REPORT, passed(CHAIN[0]))).refusal == "unknown-key"
        for wrong in ("", "::", ":%%:", "AAAA", quote(to_pem(CERTIFICATE))):
            answer = await send(service, REPORT, {"Client-Cert": wrong})
            assert answer.refusal == {"": "no-certificate", "::": "unknown-key"}.get(wrong, "unreadable")
        twice = passed()["Client-Cert"].encode()
        said = await service.talk(
            b"POST /v1/evidence?kind=trustkit HTTP/1.1\r\nHost: collect\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nContent-Length: 2\r\nClient-Cert: %b\r\nClient-Cert: %b\r\n\r\n{}" % (twice, twice)
        )
        assert b"refusal:unreadable" in said


async def test_nginx_writes_pem(store: Store) -> None:
    """PEM with URL encoding in a header of another name; the standard one is nobody's then."""
    setting = client_certificates(["127.0.0.1"], header="X-Client-Certificate", form="pem")
    async with running_service(store, certificates=setting) as service:
        await register_certificate(store)
        written = {"X-Client-Certificate": quote(to_pem(CERTIFICATE))}
        assert (await send(service, REPORT, passed())).refusal == "no-certificate"
        assert (await send(service, REPORT, written)).status == 201
        both = {"X-Client-Certificate": quote(to_pem(CERTIFICATE) + to_pem(CHAIN[0]))}
        assert (await send(service, REPORT, both)).refusal == "unreadable"


async def test_envelopes_with_a_certificate(store: Store) -> None:
    """Where a certificate is shown, it belongs to the institution that signed, and counts as any key does."""
    async with running_service(store, certificates=PEER, key_seconds=0.0) as service:
        await register_certificate(store)
        assert (await service.post(sealed(), passed())).status == 201
        south = sealed(SUBMISSION, SOUTH, institution="south")
        assert (await service.post(south, passed())).refusal == "other-institution"
        assert (await service.post(south)).status == 201
        async with store.begin() as connection:
            for key in await keys.list_keys(connection):
                if key.kind == "certificate":
                    await keys.end_key(connection, key.id, revoked=NOW)
        assert (await service.post(sealed(), passed())).refusal == "revoked-key"
        assert (await send(service, REPORT, passed())).refusal == "revoked-key"


@pytest.mark.parametrize(
    ("peers", "more"), [(["192.0.2.1/24"], {}), (["127.0.0.1"], {"form": "der"}), (["127.0.0.1"], {"header": "X: Y"})]
)
def test_settings_that_cannot_be_used(peers: list[str], more: dict[str, str]) -> None:
    """The error names the option."""
    with pytest.raises(InputError, match=r"^--(?:proxy|certificate-(?:form|header)): "):
        client_certificates(peers, **more)
