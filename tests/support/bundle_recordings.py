"""What the tests of bundles share: observations with real handshake signatures, and bundles made and remade by hand.

Room: tests of bundle. In memory.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from typing import TYPE_CHECKING, Any

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from detector import bundle
from detector.bundle import form
from detector.judge import assess, network
from detector.judge.evidence import EndpointEvidence
from detector.model import Endpoint, HandshakeSignature, Observation, Outcome, Route
from detector.trust import envelope
from detector.trust.certificate import Certificate
from detector.trust.handshake_signature import signed_content
from detector.version import VERSION

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Collection, Iterator, Sequence

    from conftest import World
    from detector_testing import Issued
    from detector_testing.pki import CA

    from detector.bundle import Verification
    from detector.model import Report

EXAM, LMS, SEARCH = "exam.example.edu", "lms.example.org", "search.example.com"
ADDRESS = "8.8.4.4:443"
"""Where endpoints are answered: a public address, which every network has the same machine at."""
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = envelope.public_key_of(KEY)
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def handshake_signature(issued: Issued, transcript_hash: bytes = bytes(range(32))) -> HandshakeSignature:
    """What the server with this key signs in TLS 1.3 over a handshake of this hash."""
    signed = signed_content(transcript_hash)
    if isinstance(issued.key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
        return HandshakeSignature(scheme=0x0804, signed=signed, signature=issued.key.sign(signed, pss, hashes.SHA256()))
    assert isinstance(issued.key, ec.EllipticCurvePrivateKey)
    return HandshakeSignature(
        scheme=0x0403, signed=signed, signature=issued.key.sign(signed, ec.ECDSA(hashes.SHA256()))
    )


def with_its_ca(ca: CA, host: str) -> Issued:
    """A leaf of this CA for a host, sent with the CA's own certificate: then its key is known."""
    issued = ca.issue([host])
    return issued.with_chain(issued.leaf, ca.certificate)


def recorded(  # noqa: PLR0913 - keyword-only; a case is made of these
    world: World,
    host: str,
    issued: Issued,
    *,
    machine: Sequence[bytes] = (),
    at: dt.datetime | None = None,
    fetched: Sequence[bytes] = (),
    seen: dict[str, Any] | None = None,
    **expected: Any,  # noqa: ANN401 - fields of Endpoint
) -> EndpointEvidence:
    """One endpoint whose server presented this chain and signed the handshake; `seen` changes the observation."""
    facts: dict[str, Any] = {
        "outcome": Outcome.COMPLETE,
        "key_proved": True,
        "route": Route.DIRECT,
        "address": ADDRESS,
        "tls_version": "TLSv1.3",
        "cipher": "TLS_AES_128_GCM_SHA256",
        "chain": tuple(Certificate.read(der).presented() for der in issued.chain),
        "handshake_signature": handshake_signature(issued),
        "timings_ms": {"connect": 12.5},
    }
    observation = Observation(**(facts | (seen or {})))
    return EndpointEvidence(Endpoint(host=host, **expected), observation, world.context(at, machine), fetched)


def report_on(cases: Sequence[EndpointEvidence], named: Collection[str] = ()) -> Report:
    """The report on a network of these cases."""
    at = cases[0].context.at
    return network.report(
        assess.assess_all(cases),
        cases[0].context,
        started=at,
        finished=at,
        vantage="room 12",
        version=VERSION,
        named=named,
    )


def packed(*cases: EndpointEvidence, keys: Sequence[Ed25519PrivateKey] = (KEY,), named: Collection[str] = ()) -> bytes:
    """The bundle of a network of these cases."""
    return bundle.pack(report_on(cases, named), cases, keys=keys)


def verify(world: World, data: bytes, **more: Any) -> Verification:  # noqa: ANN401 - arguments of verify
    """Judge a bundle again with the roots and logs of the test PKI, as signed by `KEY` unless specified otherwise."""
    return bundle.verify(data, **{"roots": world.roots, "logs": world.logs, "keys": (PUBLIC,), **more})


def remade(
    data: bytes,
    change: Callable[[dict[str, Any], dict[str, Any]], object],
    *,
    keys: Sequence[Ed25519PrivateKey] = (KEY,),
) -> bytes:
    """A bundle of another content: what somebody with a signing key can make.

    `change` gets the manifest and the contents by part as JSON values and changes them in place; digests and signature
    are made again.
    """
    file = json.loads(data)
    manifest = json.loads(
        envelope.unseal(json.dumps(file["envelope"]).encode(), payload_type=form.PAYLOAD_TYPE).payload
    )
    contents = {part["name"]: json.loads(part["content"]) for part in file["parts"]}
    change(manifest, contents)
    parts = [
        form.CarriedPart(name=part["name"], salt=part["salt"], content=json.dumps(contents[part["name"]]))
        for part in file["parts"]
        if part["name"] in contents
    ]
    digests = {part.name: part.sha256 for part in parts}
    for entry in manifest["parts"]:
        entry["sha256"] = digests.get(entry["name"], entry["sha256"])
    sealed = envelope.seal(json.dumps(manifest).encode(), payload_type=form.PAYLOAD_TYPE, keys=keys)
    return form.write(form.BundleFile(format=form.FORMAT, envelope=msgspec.Raw(sealed), parts=tuple(parts)))


def texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """Every text in a bundle, with what is wrapped in JSON and base64 unwrapped."""
    if isinstance(value, bytes):
        yield value.decode("latin-1")
        with contextlib.suppress(ValueError):
            yield from texts(json.loads(value))
    elif isinstance(value, dict):
        yield from texts([*value.keys(), *value.values()])
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value
        with contextlib.suppress(binascii.Error, ValueError):
            yield from texts(base64.b64decode(value, validate=True))
        with contextlib.suppress(ValueError):
            yield from texts(json.loads(value)) if value[:1] in "{[" else ()
