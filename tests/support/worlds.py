"""CAs and leaves of the kinds that decide a class, and what checks and the table say of them.

Room: tests. Pure apart from randomness.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from detector_testing import CA, generate_key
from detector_testing.der import BIT_STRING, OCTET_STRING, SEQUENCE, children, encode
from detector_testing.pki import SCT_LIST, _key_usage, _signature, distinguished_name, encode_sct_list

from detector.judge import assess
from detector.judge.assess import PASSES_MAX
from detector.judge.network_evidence import NetworkEvidence
from detector.knowledge import data_set
from detector.knowledge.catalogue import Catalogue
from detector.knowledge.catalogue.entries import Confidence, Entry, Fact, Field, Match, ProductCategory
from detector.model import ManagedBy, WitnessObservation, WitnessOutcome
from detector.trust import witness_statement
from detector.trust.budget import SIGNATURES_MAX, Budget
from detector.trust.certificate import Certificate
from detector.trust.envelope import public_key_of
from detector.trust.revocations import Revocations
from detector.trust.roots import Roots, from_der
from detector.trust.witness_statement import HelloSeen, Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pytest
    from detector_testing import Issued, PrivatePKI
    from detector_testing.pki import CTLog, KeyKind, PrivateKey

    from detector.judge.evidence import EndpointEvidence
    from detector.model import Finding, Result

    Chain = Issued | Sequence[bytes]
    """What a server presents."""

EXAM: Final = "exam.example.edu"
LMS: Final = "lms.example.org"
SEARCH: Final = "search.example.com"
DAY: Final = dt.timedelta(days=1)
FOR_SERVERS: Final = (ExtendedKeyUsageOID.SERVER_AUTH,)
FOR_MAIL: Final = (ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.CLIENT_AUTH)


def named(**attributes: str) -> x509.Name:
    """A name of C=, O=, OU= and CN=, in this order."""
    kinds = {
        "C": NameOID.COUNTRY_NAME,
        "O": NameOID.ORGANIZATION_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
        "CN": NameOID.COMMON_NAME,
    }
    return x509.Name([x509.NameAttribute(kinds[kind], value) for kind, value in attributes.items()])


def below(  # noqa: PLR0913 - what makes one sub-CA different from another
    issuer: CA,
    subject: x509.Name | str = "Sub CA",
    *,
    key: KeyKind | PrivateKey = "ec",
    days: tuple[int, int] = (-400, 1400),
    path_length: int | None = None,
    purposes: Sequence[x509.ObjectIdentifier] = FOR_SERVERS,
    only_under: str | None = None,
    is_ca: bool = True,
) -> CA:
    """A CA below `issuer`, valid over these days from now, for these purposes, for names under one domain only."""
    own = generate_key(key) if isinstance(key, str) else key
    name = distinguished_name(subject) if isinstance(subject, str) else subject
    identifier = x509.SubjectKeyIdentifier.from_public_key(own.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(issuer.now + days[0] * DAY)
        .not_valid_after(issuer.now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=path_length if is_ca else None), critical=True)
        .add_extension(
            _key_usage("key_cert_sign", "crl_sign") if is_ca else _key_usage("digital_signature"), critical=True
        )
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(identifier, critical=False)
    )
    if issuer.key_identifier is not None:
        builder = builder.add_extension(x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None), critical=False)
    if only_under is not None:
        permitted = [x509.DNSName(only_under)]
        builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
    certificate = issuer._sign(builder)
    return CA(
        certificate=certificate,
        key=own,
        subject=name,
        key_identifier=identifier.digest,
        chain=(certificate, *issuer.chain),
        now=issuer.now,
    )


def in_name_of(ca: CA, issuer: CA, **how: object) -> CA:
    """The key and the name of `ca` certified by `issuer` as well; leaves are sent with that certificate."""
    return dataclasses.replace(below(issuer, ca.subject, key=ca.key, **how), leaf_key=ca.leaf_key)  # type: ignore[arg-type] # as `below`


def timestamps(logs: Sequence[CTLog], at: dt.datetime) -> Callable[[bytes, bytes], list[bytes]]:
    """What `CA.issue` wants for `sct_list`: one timestamp of each of these logs, of this time."""
    return lambda tbs, issuer_key_hash: [log.sct(tbs, issuer_key_hash, at=at) for log in logs]


def logged(pki: PrivatePKI, ca: CA, host: str, logs: Sequence[CTLog] | None = None, **issue: object) -> Issued:
    """A leaf of this CA, for this host or the `names` given, with timestamps of two known logs, or of these."""
    scts = timestamps(logs or pki.ct_logs[:2], pki.now - DAY)
    return ca.issue(issue.pop("names", [host]), sct_list=scts, **issue)  # type: ignore[arg-type] # as `CA.issue`


def of_check(module: Any, one: EndpointEvidence, *others: EndpointEvidence) -> tuple[Finding, ...]:  # noqa: ANN401 - a check
    """What a check finds on this observation once its network was assessed."""
    every = [one, *others]
    network = NetworkEvidence.of(every)
    for _ in range(PASSES_MAX):
        for evidence in every:
            assess._assess(evidence, network)
    uses_network = getattr(module, "USES_NETWORK", False)
    return tuple(module.check(one, network) if uses_network else module.check(one))


def outcomes(module: Any, one: EndpointEvidence, *others: EndpointEvidence) -> list[str]:  # noqa: ANN401 - a check
    """The outcomes of `of_check`."""
    return [finding.outcome for finding in of_check(module, one, *others)]


def said(result: Result) -> tuple[str, str]:
    """How sure a result is, or on what it rests, and its rule."""
    return str(result.confidence or result.assurance or "inconclusive"), str(result.reason)


def crowded(pki: PrivatePKI, host: str, *, keys: int = SIGNATURES_MAX + 1) -> tuple[bytes, ...]:
    """A leaf whose issuer's name so many sent CAs have, each with another key, the right one last."""
    namesakes = [pki.private_ca("Filter CA") for _ in range(keys)]
    return (namesakes[-1].issue([host]).leaf, *(ca.certificate for ca in namesakes))


def spent() -> Budget:
    """The budget of a run in which others spent all the time."""
    return Budget(itertools.count().__next__, run_seconds=0, chain_seconds=1000)


def dated(roots: Roots, days: int, pki: PrivatePKI) -> Roots:
    """These roots as a list that is this many days old."""
    return Roots(roots.roots, name=roots.name, version="", date=(pki.now - days * DAY).date())


def revocations(numbers: Mapping[bytes, dt.datetime], keys: Mapping[bytes, dt.datetime] | None = None) -> Revocations:
    """A list of these certificates (DER) by their numbers, and of those by their keys, since these moments."""
    by_number: dict[bytes, dict[int, dt.date]] = {}
    for der, since in numbers.items():
        one = Certificate.read(der)
        assert one.issuer is not None
        assert one.serial is not None
        by_number.setdefault(one.issuer.der, {})[one.serial] = since.date()
    by_key: dict[tuple[bytes, bytes], dt.date] = {}
    for der, since in (keys or {}).items():
        one = Certificate.read(der)
        assert one.subject is not None
        assert one.spki_sha256 is not None
        by_key[one.subject.der, one.spki_sha256] = since.date()
    return Revocations(serials=by_number, keys=by_key)


def without(roots: Roots, ca: CA) -> Roots:
    """These roots after this one was removed from them."""
    former = from_der([ca.certificate], name="former")
    left = roots.without(former.keys)
    return Roots(left.roots, name=roots.name, version="", retired=former)


def know_key(monkeypatch: pytest.MonkeyPatch, key: bytes, category: ProductCategory) -> None:
    """Put a key (SHA-256 of its SPKI) into the catalogue, as that of a product of this category."""
    fact = Fact(field=Field.SPKI_SHA256, match=Match.EXACT, value=key.hex())
    entry = Entry(
        id="example-box",
        vendor="Example",
        product="Example Box",
        category=category,
        managed_by=ManagedBy.INSTITUTION,
        confidence=Confidence.HIGH,
        facts=(fact,),
        sources=(),
    )
    known = Catalogue((*data_set.shipped().catalogue.entries, entry))
    monkeypatch.setitem(vars(data_set.shipped()), "catalogue", known)


def sent(ca: CA, host: str, **issue: Any) -> tuple[bytes, ...]:  # noqa: ANN401 - as `CA.issue`
    """A leaf of this CA as servers send it that send the CA's own certificate too."""
    issued = ca.issue([host], **issue)
    return issued.chain if ca.certificate in issued.chain else (*issued.chain, ca.certificate)


WITNESS_KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1")


def witnessed(exporter: bytes = b"\2" * 32, **facts: Any) -> dict[str, Any]:  # noqa: ANN401 - of WitnessObservation
    """Facts of an observation: a witness said which exporter it sees, ours unless another is given."""
    nonce = b"\1" * 32
    statement = Statement(
        nonce=witness_statement.encode_nonce(nonce),
        exporter=exporter,
        client_hello=HelloSeen(sha256="00" * 32, ja4=None),
        proxy_headers=(),
        time=dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC),
    )
    answer = {
        "outcome": WitnessOutcome.ANSWERED,
        "status": 200,
        "body": witness_statement.sign(statement, (WITNESS_KEY,)),
        **facts,
    }
    return {"witness": WitnessObservation(nonce=nonce, exporter=b"\2" * 32, **answer)}


PINNED_WITNESS: Final[dict[str, Any]] = {"witness": (public_key_of(WITNESS_KEY),)}
"""Fields of an endpoint whose witness signs with that key."""


def edited(ca: CA, leaf: bytes, edit: Callable[[list[bytes]], None], logs: Sequence[CTLog] = ()) -> bytes:
    """A leaf (an EC CA's, without timestamps) with other fields, signed again, with timestamps of these logs.

    `edit` changes the fields of its TBSCertificate in place, each in DER: version, serial number, algorithm, issuer,
    validity, subject, key, extensions.
    """
    tbs, algorithm, _ = children(leaf)
    fields = children(tbs)
    edit(fields)
    if logs:
        at = ca.now - DAY
        scts = [log.sct(encode(SEQUENCE, *fields), ca.spki_sha256, at=at) for log in logs]
        with_extension(SCT_LIST.dotted_string, encode_sct_list(scts))(fields)
    body = encode(SEQUENCE, *fields)
    signature = _signature(ca.key, body, hashes.SHA256())
    return encode(SEQUENCE, body, algorithm, encode(BIT_STRING, b"\0", signature))


def with_extension(dotted: str, value: bytes, *, critical: bool = False) -> Callable[[list[bytes]], None]:
    """An edit that appends an extension."""
    flag = b"\x01\x01\xff" if critical else b""
    one = encode(SEQUENCE, _oid(dotted), flag, encode(OCTET_STRING, value))

    def edit(fields: list[bytes]) -> None:
        (listed,) = children(fields[-1])
        fields[-1] = encode(fields[-1][0], encode(SEQUENCE, *children(listed), one))

    return edit


def _oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER in DER (X.690 section 8.19)."""
    first, second, *arcs = map(int, dotted.split("."))
    encoded = b""
    for arc in (40 * first + second, *arcs):
        groups = [arc >> shift & 0x7F for shift in range(0, max(arc.bit_length(), 1), 7)][::-1]
        encoded += bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])
    return encode(0x06, encoded)
