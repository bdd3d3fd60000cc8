"""A content of every kind that institutions submit, and what somebody who wants to put more in makes of it.

Room: tests. In memory.
"""

from __future__ import annotations

import base64
import copy
import json
from typing import TYPE_CHECKING, Any, Final

import msgspec
from support.bundle_recordings import handshake_signature, remade

from detector import bundle
from detector.bundle import form
from detector.exam.decision import ReasonCode
from detector.exam.policy import Action
from detector.judge import assess, network
from detector.judge.evidence import Context, EndpointEvidence
from detector.knowledge import data_set
from detector.model import (
    Confidence,
    Endpoint,
    EndpointName,
    Meaning,
    Observation,
    Outcome,
    PortalObservation,
    PortalOutcome,
    Reason,
    Route,
    Scope,
    ServerDate,
    Verdict,
    encode,
)
from detector.outbox import contents
from detector.outbox.submission import Kind
from detector.trust import envelope
from detector.trust.certificate import Certificate
from detector.version import VERSION
from detector.watch.events import WatchKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from detector_testing import PrivatePKI

HOST: Final = "exam.platform.example.com"
_FOREIGN: Final = frozenset(
    {"chain", "fetched", "der", "issuer", "ocsp_response", "sct_list", "server_hello", "signature", "signed"}
)
"""Fields with what a server presented: the peer chooses its certificate and its signature."""


def of_every_kind(pki: PrivatePKI, key: Ed25519PrivateKey) -> dict[Kind, bytes]:
    """A content of each kind, with as many of its fields as there are."""
    data, result = _bundle_and_result(pki)
    name = EndpointName(host=HOST, port=443, category=result.endpoint.category)
    finding = contents.FindingContent(check="chain", outcome="private", says=Meaning.INTERCEPTED)
    party = contents.PartyContent(product="Sample Filter", vendor="Sample", category="filter")
    standing = contents.StandingContent(verdict=Verdict.CLEAN, reason=Reason.PINNED, product="Sample Filter")
    shown = contents.of_result(result)
    assert shown is not None
    reduced = contents.reduce(data, keys=[key])
    failure = contents.FailureContent(host=HOST, port=443, at=pki.now, chain=tuple(pki.issue([HOST]).chain))
    standings = contents.NetworkContent(
        verdict=Verdict.CLEAN, confidence=None, scope=Scope.NONE, clean=1, middleware=0, inconclusive=0, unjudged=0
    )
    made = {
        Kind.GATE_DECISION: contents.GateContent(
            action=Action.BLOCK,
            policy="finals",
            reasons=(
                contents.GateReason(
                    code=ReasonCode.INTERCEPTED,
                    action=Action.BLOCK,
                    endpoints=(f"{HOST}:443",),
                    rule=Reason.IDENTITY_SUBSTITUTED,
                    confidence=Confidence.PROVEN,
                ),
            ),
            bundle=msgspec.Raw(reduced),
        ),
        Kind.WATCH_EVENT: contents.WatchContent(
            sequence=1,
            kind=WatchKind.APPEARED,
            at=pki.now,
            elapsed=1.0,
            endpoint=name,
            before=standing,
            after=standing,
            last_look=pki.now,
            seconds=2.0,
            network=standings,
            result=shown,
        ),
        Kind.SCAN_RESULT: shown,
        Kind.ORIGIN_REPORT: contents.OriginContent(
            site=name,
            network="ab" * 32,
            started=pki.now,
            finished=pki.now,
            detector_version=VERSION,
            verdict=Verdict.MIDDLEWARE,
            reason=Reason.PIN_MISMATCH,
            scope=Scope.ALL,
            attribution=party,
            findings=(finding,),
            share=contents.ShareContent(
                unit="clients", contradicting=9, counted=10, sampled=0, lowest=0.5, highest=1.0, level=0.95
            ),
        ),
        Kind.TRUSTKIT: failure,
        Kind.RFC7469: failure,
    }
    return {Kind.BUNDLE: reduced, **{kind: encode(content) for kind, content in made.items()}}


def _bundle_and_result(pki: PrivatePKI) -> tuple[bytes, Any]:
    """A bundle with every kind of part, and the result of its endpoint."""
    issued = pki.private_ca("Sample Filter CA").issue([HOST])
    observation = Observation(
        outcome=Outcome.COMPLETE,
        key_proved=True,
        route=Route.HTTP_CONNECT,
        address="10.66.77.88:3128",
        asked_for=f"{HOST}:443",
        tls_version="TLSv1.3",
        cipher="TLS_AES_128_GCM_SHA256",
        group="X25519",
        alpn="h2",
        ja4="t13d1516h2_8daaf6152771_02713d6af862",
        chain=tuple(Certificate.read(der).presented() for der in issued.chain),
        handshake_signature=handshake_signature(issued),
        timings_ms={"connect": 12.5},
    )
    dates = ServerDate(host="control.example.net", said=pki.now, ours=pki.now, uncertainty_ms=12.5)
    shipped = data_set.shipped()
    context = Context(
        at=pki.now,
        data=shipped,
        roots=shipped.public_roots(),
        logs=shipped.logs,
        portal=PortalObservation(
            outcome=PortalOutcome.REDIRECTED,
            url="http://control.example.net/204",
            location="http://portal.example.net/",
            sign_in_url="https://portal.example.net/",
        ),
        dates=(dates,),
    )
    pinned = Endpoint(host=HOST, pins=(b"p" * 32,), operator="Sample Exams", roots=("ISRG Root X1",))
    cases = [EndpointEvidence(pinned, observation, context)]
    results = assess.assess_all(cases)
    report = network.report(
        results, context, started=pki.now, finished=pki.now, vantage="room 12", version=VERSION, named=()
    )
    return bundle.pack(report, cases), report.results[0]


def with_text(kind: Kind, content: bytes, text: str, key: Ed25519PrivateKey) -> Iterator[tuple[str, bytes]]:
    """The content with `text` in place of each of its texts, and in a new field and as a new field of each object.

    Yields where it is, and the content, whose bundle is signed again. What a server presented stays.
    """
    if kind is not Kind.BUNDLE:
        for place, changed in _changed(json.loads(content), text):
            yield place, json.dumps(changed).encode()
    if kind is Kind.GATE_DECISION:
        whole = json.loads(content)
        for place, inner in with_text(Kind.BUNDLE, json.dumps(whole["bundle"]).encode(), text, key):
            yield f"bundle.{place}", json.dumps({**whole, "bundle": json.loads(inner)}).encode()
    if kind is Kind.BUNDLE:
        for place, changed in _changed(json.loads(content), text):
            yield f"file{place}", json.dumps(changed).encode()
        made: dict[str, Any] = {}
        remade(content, lambda manifest, parts: made.update(manifest=copy.deepcopy(manifest), parts=parts), keys=[key])
        for place, changed in _changed(made["manifest"], text):
            sealed = envelope.seal(json.dumps(changed).encode(), payload_type=form.PAYLOAD_TYPE, keys=[key])
            yield f"manifest{place}", json.dumps({**json.loads(content), "envelope": json.loads(sealed)}).encode()
        for place, changed in _changed(made["parts"], text):
            yield f"parts{place}", remade(content, _put(changed), keys=[key])


def _put(changed: dict[str, Any]) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    """Put these in the place of a bundle's parts."""
    return lambda _, parts: parts.update(changed)


def _changed(value: Any, text: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON value
    """The value with `text` at each place, one at a time."""
    if isinstance(value, str):
        yield "", text
        yield "+", value + text
        yield "64", base64.b64encode(text.encode()).decode()
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from (
                (f"[{number}]{where}", [*value[:number], one, *value[number + 1 :]])
                for where, one in _changed(inner, text)
            )
        yield "[]", [*value, text]
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in _FOREIGN:
                for where, one in _changed(inner, text):
                    yield f".{name}{where}", {**value, name: one}
        yield ".?", {**value, "remark": text}
        yield ".!", {**value, text: 1}
    elif value is None:
        yield "", text
