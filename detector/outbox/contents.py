"""What a submission holds, by kind: made from the detector's own records, and decoded strictly by who receives it.

Room: outbox. Pure: records and keys in, records out.

Theory of operation
===================
Evidence is about a network, and a collector must not learn whose machine saw it. Each kind has a form of its own that
has no field for what could name a person or locate a machine, and makers that copy into it only what verification and
statistics need. `decode` refuses what those makers would not have written, so that a careless or hostile client cannot
put more in.

A bundle is reduced rather than redacted: several rules depend on whether an address is private, on whether two probes
reached the same address, and on where TLS ends, so without its circumstances no bundle could be verified completely.
They stay, without any address:

==========================  =========================================================================================
what                        what is sent
==========================  =========================================================================================
addresses                   stand-ins, numbered within the bundle: `100::n` for private ones, `4000::n` for public ones,
                            `127.0.0.1` for this machine; equal where the addresses are equal
names of proxies            nothing
hops                        how far, and which are the same router (`router-n`); no address, no timing
timings                     whether a connection took as long as one within a machine, to a local network, or farther
sign-in pages, times        that one answered; the time reported by servers; no URL that the network chose
vantage                     nothing
endpoints with private      nothing: the part is removed, its digest stays
names
==========================  =========================================================================================

The reduced bundle is signed again with the institution's key: the first signature covered what is no longer there.
Certificates stay as they were presented, because nothing else proves who signed them. The name in the certificate of an
interceptor on a device may be that of the device or its user (docs/limits.md).
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from detector.bundle import form, packing
from detector.errors import InputError, TargetError
from detector.exam.decision import ReasonCode  # noqa: TC001 - msgspec reads the annotations at run time
from detector.exam.policy import Action  # noqa: TC001 - msgspec reads the annotations at run time
from detector.judge.hops import OWN_NETWORK
from detector.judge.locality import LOCAL_CONNECT_MS, REMOTE_CONNECT_MS
from detector.knowledge import operators
from detector.model import (
    Alternative,
    Assurance,
    Confidence,
    EndpointName,
    Locality,
    ManagedBy,
    Meaning,
    PortalObservation,
    Reason,
    Record,
    Scope,
    Verdict,
    encode,
    json_text,
)
from detector.model.observation import Address
from detector.model.record import Count, Moment  # noqa: TC001 - msgspec reads the annotations at run time
from detector.origin.reports import SHARE
from detector.pins import failure_report, parse_host
from detector.probe.tls import codepoints
from detector.watch.events import WatchKind  # noqa: TC001 - msgspec reads the annotations at run time

from .submission import SUBMISSION_BYTES_MAX, Kind, Sha256

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector.exam.decision import Decision
    from detector.model import HopsObservation, Report, Result
    from detector.watch.events import WatchEvent

CONTENT_BYTES_MAX: Final = (SUBMISSION_BYTES_MAX - 8192) * 3 // 4
"""Bytes of a content: base64 adds a third, and who reports has some hundred bytes."""
GATE_BYTES_MAX: Final = 512 * 1024
"""Bytes of a gate's reasons: a thousand of the longest names."""
LIST_MAX: Final = form.LIST_MAX
"""Entries of a list in a content: as many certificates as the probe takes from a peer."""
TEXT_MAX: Final = 128
"""Characters of a word that is not ours: names of policies, products and versions."""
LOOPBACK: Final = "127.0.0.1"
"""Stand-in for every address of the machine itself: it says nothing about which machine that is."""
PRIVATE: Final = ipaddress.IPv6Network("100::/64")
"""Stand-ins for addresses that are other machines on every network: the discard prefix (RFC 6666), not reachable."""
PUBLIC: Final = ipaddress.IPv6Network("4000::/64")
"""Stand-ins for public addresses: within 4000::/3, which is reserved and was never allocated (RFC 4291 section 2.4)."""
NEAR_MS: Final = (LOCAL_CONNECT_MS / 2, (LOCAL_CONNECT_MS + REMOTE_CONNECT_MS) / 2, REMOTE_CONNECT_MS + 1)
"""Milliseconds that stand for a connection within a machine, to a local network, and farther (`judge.locality`)."""

Word = Annotated[str, msgspec.Meta(max_length=TEXT_MAX, pattern=r"^[ -~]*\Z")]
"""One of the vendor's or the catalogue's own words: printable ASCII."""
Slug = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,64}\Z")]
"""One of the detector's own words: names of checks, of their outcomes, of kinds of products."""
Seconds = Annotated[float, msgspec.Meta(ge=-1e10, le=1e10)]
"""A duration; three centuries are more than a clock can be set by."""
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

Version = Annotated[str, msgspec.Meta(pattern=r"^([0-9][0-9a-z.+-]{0,31})?\Z")]
"""A version of the detector or of knowledge: they begin with a digit. Empty where it was another text."""

_SLUG: Final = re.compile(r"[a-z0-9-]{1,64}\Z")
_VERSION: Final = re.compile(r"([0-9][0-9a-z.+-]{0,31})?\Z")
_JA4: Final = re.compile(r"[tq](?:1[0-3]|s[23]|00)[di][0-9]{4}[0-9a-z]{2}_[0-9a-f]{12}_[0-9a-f]{12}\Z")
"""A JA4 fingerprint of a ClientHello."""
_CODE_POINT: Final = re.compile(r"0x[0-9a-f]{4}\Z|dhe[0-9]{1,5}\Z")
"""How a code point without a name is written, and a group of Diffie-Hellman by its bits."""
_PROTOCOLS: Final = frozenset({"h2", "http/1.1", "http/1.0", "h3"})
"""Protocols of ALPN that probes offer; anything else is a text that the peer chose."""
NO_BUNDLE: Final = msgspec.Raw(b"null")
"""A decision without evidence."""

R = TypeVar("R", bound=Record)


class IdentifyingError(InputError):
    """A content that holds what could name a person or locate a machine. The text names the field, not the value."""


class _Strict(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record whose unknown fields are refused: an unread field could hold anything."""


class PartyContent(_Strict, frozen=True, kw_only=True):
    """The apparent interceptor in the catalogue's words; the issuer's own text is in the certificates alone."""

    product: Word | None = None
    vendor: Word | None = None
    category: Slug = "unknown"
    managed_by: ManagedBy = ManagedBy.INSTITUTION
    locality: Locality = Locality.UNKNOWN


class FindingContent(_Strict, frozen=True, kw_only=True):
    """Which check found what; its sentence and data may hold addresses and foreign text."""

    check: Slug
    outcome: Slug
    says: Meaning


class ResultContent(_Strict, frozen=True, kw_only=True):
    """The result on one endpoint, with what its connections showed: the content of a `scan-result`.

    `connections` are the observations, that of the verdict first, and `routes` belong to them in their order.
    """

    endpoint: EndpointName
    verdict: Verdict
    reason: Reason
    confidence: Confidence | None = None
    assurance: Assurance | None = None
    alternatives: Annotated[tuple[Alternative, ...], msgspec.Meta(max_length=LIST_MAX)] = ()
    attribution: PartyContent | None = None
    findings: Annotated[tuple[FindingContent, ...], msgspec.Meta(max_length=LIST_MAX)] = ()
    connections: Annotated[tuple[form.Connection, ...], msgspec.Meta(min_length=1, max_length=form.CONNECTIONS_MAX)]
    routes: Annotated[tuple[form.RouteDetails, ...], msgspec.Meta(min_length=1, max_length=form.CONNECTIONS_MAX)]


class GateReason(_Strict, frozen=True, kw_only=True):
    """One reason of a decision, without its sentences; endpoints with private names are left out."""

    code: ReasonCode
    action: Action
    endpoints: Annotated[tuple[Word, ...], msgspec.Meta(max_length=form.ENDPOINTS_MAX)] = ()
    rule: Reason | None = None
    confidence: Confidence | None = None


class GateContent(_Strict, frozen=True, kw_only=True):
    """The decision of an exam gate and its evidence: the content of a `gate-decision`. `bundle` is a reduced bundle."""

    action: Action
    policy: Word
    reasons: Annotated[tuple[GateReason, ...], msgspec.Meta(max_length=LIST_MAX)]
    bundle: msgspec.Raw = NO_BUNDLE


class StandingContent(_Strict, frozen=True, kw_only=True):
    """What a watch reports of one endpoint, without the issuer's text."""

    verdict: Verdict
    reason: Reason
    confidence: Confidence | None = None
    assurance: Assurance | None = None
    product: Word | None = None


class NetworkContent(_Strict, frozen=True, kw_only=True):
    """The verdict of a watched network, and how many endpoints have which."""

    verdict: Verdict
    confidence: Confidence | None
    scope: Scope
    clean: Count
    middleware: Count
    inconclusive: Count
    unjudged: Count


class WatchContent(_Strict, frozen=True, kw_only=True):
    """An event of a watch: the content of a `watch-event`."""

    sequence: Count
    kind: WatchKind
    at: Moment
    elapsed: Seconds
    endpoint: EndpointName | None = None
    before: StandingContent | None = None
    after: StandingContent | None = None
    last_look: Moment | None = None
    seconds: Seconds | None = None
    network: NetworkContent
    result: ResultContent | None = None


class ShareContent(_Strict, frozen=True, kw_only=True):
    """How many clients of a network a result holds for, as `detector.origin.shares` counts them."""

    unit: Literal["accounts", "clients"]
    contradicting: Count
    counted: Count
    sampled: Count
    lowest: Share
    highest: Share
    level: Share


class OriginContent(_Strict, frozen=True, kw_only=True):
    """What an exam server's log shows of one network: the content of an `origin-report`.

    `network` is a keyed hash of the network's name; the key stays with the server.
    """

    site: EndpointName
    network: Sha256
    started: Moment
    finished: Moment
    detector_version: Version
    verdict: Verdict
    reason: Reason
    confidence: Confidence | None = None
    scope: Scope
    alternatives: Annotated[tuple[Alternative, ...], msgspec.Meta(max_length=LIST_MAX)] = ()
    attribution: PartyContent | None = None
    findings: Annotated[tuple[FindingContent, ...], msgspec.Meta(max_length=LIST_MAX)] = ()
    share: ShareContent


class FailureContent(_Strict, frozen=True, kw_only=True):
    """A report of failed pins (RFC 7469 section 3, TrustKit) without the client's identifiers and opinions.

    The content of `trustkit` and `rfc7469`. `chain` is in DER as presented, leaf first.
    """

    host: form.Text
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    at: Moment | None = None
    chain: Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=LIST_MAX)]


Content = form.Bundle | GateContent | WatchContent | ResultContent | OriginContent | FailureContent
"""What `decode` returns. A bundle is read, its signatures and verdicts are not verified."""

_FORM_OF: Final[dict[Kind, type[GateContent | WatchContent | ResultContent | OriginContent | FailureContent]]] = {
    Kind.GATE_DECISION: GateContent,
    Kind.WATCH_EVENT: WatchContent,
    Kind.SCAN_RESULT: ResultContent,
    Kind.ORIGIN_REPORT: OriginContent,
    Kind.TRUSTKIT: FailureContent,
    Kind.RFC7469: FailureContent,
}


# Decoding


def decode(kind: Kind, raw: bytes) -> Content:
    """Decode the content of a submission strictly.

    Raises `IdentifyingError` for what could name a person or locate a machine, `ValueError` for anything else that is
    not a content of this kind: other fields, a key twice, a changed part of a bundle, more than a submission holds.
    """
    if len(raw) > SUBMISSION_BYTES_MAX:
        raise ValueError(f"larger than {SUBMISSION_BYTES_MAX // 1024 // 1024} MiB")
    if kind is Kind.BUNDLE:
        return _read_reduced(raw)
    content = json_text.decode_unambiguous(raw, _FORM_OF[kind])
    _require_known(raw, content)
    match content:
        case GateContent():
            _require_public("reasons[].endpoints", *(name for reason in content.reasons for name in reason.endpoints))
            if content.bundle != NO_BUNDLE:
                _read_reduced(bytes(content.bundle))
        case ResultContent():
            _require_reduced(content)
        case WatchContent():
            _require_public("endpoint", *(() if content.endpoint is None else (content.endpoint.name,)))
            if content.result is not None:
                _require_reduced(content.result)
        case OriginContent():
            _require_public("site", content.site.name)
        case FailureContent():
            _require(is_reportable(content.host), "host")
    return content


def bundle_of(kind: Kind, raw: bytes) -> bytes | None:
    """The bundle in a content, as its bytes, for `detector.bundle.verify`. Raises `ValueError`, as `decode` does."""
    content = decode(kind, raw)
    if isinstance(content, form.Bundle):
        return raw
    found = content.bundle if isinstance(content, GateContent) else NO_BUNDLE
    return None if found == NO_BUNDLE else bytes(found)


def is_reportable(host: str) -> bool:
    """Whether the endpoint of this host is reported: a DNS name that means the same server on every network.

    An address or a private name says which network or machine this is.
    """
    try:
        name = parse_host(host)
    except TargetError:
        return False
    return Address(name, 0).ip is None and operators.is_public(name)


def _is_public_endpoint(name: str) -> bool:
    """Whether `host:port` is of an endpoint that is reported."""
    address = Address.parse(name)
    return address is not None and is_reportable(address.host)


def _require(condition: bool, field: str) -> None:  # noqa: FBT001 - an assertion with its name
    if not condition:
        raise IdentifyingError(
            f"{field}: holds what could name a person or locate a machine.",
            advice="Send contents as detector.outbox.contents makes them.",
        )


def _require_public(field: str, *names: str) -> None:
    _require(all(map(_is_public_endpoint, names)), field)


def _require_reduced(content: ResultContent) -> None:
    reducer = _Reducer()
    _require_public("result.endpoint", content.endpoint.name)
    _require(all(one == _connection(one, ()) for one in content.connections), "connections")
    if len(content.routes) != len(content.connections):
        raise ValueError("routes and connections are not of the same number")
    _require(all(one == reducer.route(one, content.endpoint.host) for one in content.routes), "routes")


def _read_reduced(raw: bytes) -> form.Bundle:
    """Read a bundle that must be reduced."""
    bundle = form.read_unchanged(raw)
    if not all(signer.verifies for signer in bundle.signers):
        raise ValueError("a signature of the bundle does not verify")
    _require(not bundle.file.timestamps, "timestamps")
    _require(_manifest(bundle.manifest) == bundle.manifest, "manifest")
    _require_known(bundle.payload, bundle.manifest)
    carried = {part.name: part.content.encode() for part in bundle.file.parts}
    for part, reduced in zip(bundle.parts, _Reducer().contents(bundle), strict=True):
        _require(part.content == reduced, part.entry.name)
        if reduced is not None:
            _require_known(carried[part.entry.name], reduced)
    return bundle


def _require_known(raw: bytes, record: Record) -> None:
    """Refuse fields of inner records that were skipped when `record` was decoded: they would be stored unread."""
    if not _is_within(msgspec.json.decode(raw), msgspec.json.decode(encode(record))):
        raise ValueError("it has a field that this kind of content does not have")


def _is_within(sent: Any, known: Any) -> bool:  # noqa: ANN401 - JSON values
    """Whether every field of `sent` is one of `known`, at any depth."""
    if isinstance(sent, dict):
        return isinstance(known, dict) and all(
            name in known and _is_within(value, known[name]) for name, value in sent.items()
        )
    if isinstance(sent, list):
        return isinstance(known, list) and all(map(_is_within, sent, known))
    return True


# Making


def of_decision(decision: Decision, *, keys: Sequence[Ed25519PrivateKey]) -> GateContent:
    """The content for the decision of a gate; `keys` sign its reduced bundle. Raises `BundleError`."""
    bundle = NO_BUNDLE
    if decision.evidence:
        bundle = msgspec.Raw(reduce(decision.evidence, keys=keys, most=CONTENT_BYTES_MAX - GATE_BYTES_MAX))
    return GateContent(
        action=decision.action,
        policy=_word(decision.policy),
        reasons=tuple(
            _copied(GateReason, reason, endpoints=tuple(filter(_is_public_endpoint, reason.endpoints)))
            for reason in decision.reasons
        ),
        bundle=bundle,
    )


def of_event(event: WatchEvent) -> WatchContent | None:
    """The content for an event of a watch; None for an endpoint that is not reported."""
    if event.endpoint is not None and not is_reportable(event.endpoint.host):
        return None
    return _copied(
        WatchContent,
        event,
        before=event.before and _copied(StandingContent, event.before),
        after=event.after and _copied(StandingContent, event.after),
        network=_copied(NetworkContent, event.network),
        result=None if event.result is None else of_result(event.result),
    )


def of_result(result: Result) -> ResultContent | None:
    """The content for one result; None for an endpoint that is not reported."""
    host = result.endpoint.host
    if not is_reportable(host):
        return None
    reducer = _Reducer()
    observations = (result.observation, *result.other_observations)[: form.CONNECTIONS_MAX]
    connections = tuple(_connection(packing.connection(seen, ()), ()) for seen in observations)
    routes = tuple(reducer.route(_copied(form.RouteDetails, seen), host) for seen in observations)
    return _copied(
        ResultContent,
        result,
        attribution=result.attribution and _copied(PartyContent, result.attribution),
        findings=_findings(result),
        connections=connections,
        routes=routes,
    )


def of_origin(report: Report, *, network: str) -> OriginContent | None:
    """The content for the report of an exam server on one network, whose name `network` is a keyed hash of."""
    result = report.results[0]
    share = next((one for one in result.findings if one.check == SHARE), None)
    if share is None or not is_reportable(result.endpoint.host):
        return None
    return _copied(
        OriginContent,
        result,
        site=result.endpoint,
        network=network,
        started=report.started,
        finished=report.finished,
        detector_version=_version(report.detector_version),
        scope=report.scope,
        attribution=result.attribution and _copied(PartyContent, result.attribution),
        findings=_findings(result),
        share=ShareContent(**{name: share.data[name] for name in ShareContent.__struct_fields__}),
    )


def of_failure(data: bytes, *, now: dt.datetime) -> FailureContent:
    """The content for a report of failed pins as a client sent it. Raises `ChainError`, or `IdentifyingError`."""
    read = failure_report.read(data, now=now)
    _require(is_reportable(read.host), "hostname")
    return FailureContent(host=read.host, port=read.port, at=read.at, chain=read.certificates)


def reduce(data: bytes, *, keys: Sequence[Ed25519PrivateKey], most: int = CONTENT_BYTES_MAX) -> bytes:
    """A bundle without what names a person or locates a machine, signed by `keys`.

    Of more than `most` bytes, the largest endpoints are removed: a peer that sends megabytes of certificates hides
    nothing but its own. Raises `BundleError`.
    """
    bundle = form.read_unchanged(data)
    carried = {part.name: part for part in bundle.file.parts}
    parts: dict[str, form.CarriedPart] = {}
    entries: list[form.PartEntry] = []
    for part, content in zip(bundle.parts, _Reducer().contents(bundle), strict=True):
        entry = part.entry
        if content is not None:
            kept = msgspec.structs.replace(carried[entry.name], content=encode(content).decode())
            parts[entry.name] = kept
            entry = msgspec.structs.replace(entry, sha256=kept.sha256)
        entries.append(entry)
    manifest = msgspec.structs.replace(_manifest(bundle.manifest), parts=tuple(entries))
    while len(reduced := form.write(form.seal(manifest, parts.values(), keys)).rstrip(b"\n")) > most and parts:
        _, _, number = max(parts.values(), key=lambda part: len(part.content)).name.partition("-")
        parts = {name: part for name, part in parts.items() if name.partition("-")[2] != number}
    return reduced


def _copied(kind: type[R], record: Record, **other: object) -> R:
    """A record of `kind` with the fields that `record` has, too, but for these `other` ones."""
    return kind(**{name: other[name] if name in other else getattr(record, name) for name in kind.__struct_fields__})


def _findings(result: Result) -> tuple[FindingContent, ...]:
    return tuple(_copied(FindingContent, finding) for finding in result.findings[:LIST_MAX])


def _word(text: str) -> str:
    """Text as a `Word`: what does not fit is replaced."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:TEXT_MAX]


def _version(text: str) -> str:
    """Text as a `Version`."""
    return text if _VERSION.match(text) else ""


def _manifest(manifest: form.Manifest) -> form.Manifest:
    """The manifest without names of files that the user gave, and what is not a version."""
    return msgspec.structs.replace(
        manifest,
        detector_version=_version(manifest.detector_version),
        knowledge=tuple(
            msgspec.structs.replace(part, name=part.kind.value, version=_version(part.version))
            for part in manifest.knowledge
        ),
    )


class _Reducer:
    """Reduces the parts of one bundle, with the same stand-in for the same address throughout. Idempotent."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._routers: dict[str, str] = {}

    def contents(self, bundle: form.Bundle) -> Iterator[form.Content | None]:
        """The reduced content of every part, in order; None for a part that is not sent."""
        endpoints = {part.number: part.content for part in bundle.parts if part.entry.kind is form.PartKind.ENDPOINT}
        for part in bundle.parts:
            yield self._content(part.content, endpoints.get(part.number))

    def _content(self, content: form.Content | None, endpoint: form.Content | None) -> form.Content | None:
        if isinstance(content, form.RecordedEndpoint):
            return _endpoint(content)
        if isinstance(content, form.Circumstances):
            return self._circumstances(content, endpoint) if isinstance(endpoint, form.RecordedEndpoint) else None
        if isinstance(content, PortalObservation):
            return PortalObservation(
                outcome=content.outcome, url=_public_url(content.url), status=content.status, api=content.api
            )
        if isinstance(content, form.Dates):
            reportable = (date for date in content.dates if is_reportable(date.host))
            return form.Dates(dates=tuple(msgspec.structs.replace(date, uncertainty_ms=0.0) for date in reportable))
        return None

    def _circumstances(self, content: form.Circumstances, endpoint: form.RecordedEndpoint) -> form.Circumstances | None:
        if not is_reportable(endpoint.expected.host):
            return None
        roots = {hashlib.sha256(root.der).hexdigest() for root in endpoint.machine_roots}
        return form.Circumstances(
            journeys=tuple(self.route(route, endpoint.expected.host) for route in content.journeys),
            installed_at={sha256: time for sha256, time in content.installed_at.items() if sha256 in roots},
        )

    def route(self, route: form.RouteDetails, host: str) -> form.RouteDetails:
        """Route details without addresses; `asked_for` stays where it is the endpoint's own name."""
        asked = Address.parse(route.asked_for)
        named = asked is not None and asked.host == host
        connected = route.timings_ms.get("connect")
        return form.RouteDetails(
            address=self._stand_in(route.address),
            asked_for=route.asked_for if named else self._stand_in(route.asked_for),
            hops=None if route.hops is None else self._hops(route.hops),
            attempts=route.attempts,
            left_out=route.left_out,
            timings_ms={} if connected is None else {"connect": _distance(connected)},
        )

    def _stand_in(self, text: str | None) -> str | None:
        """The stand-in for an address and its port; None for a name."""
        address = Address.parse(text)
        if address is None or address.ip is None:
            return None
        if address.ip.is_loopback:
            return f"{LOOPBACK}:{address.port}"
        network, key = PUBLIC if address.ip.is_global else PRIVATE, str(address.ip)
        if key not in self._addresses:
            self._addresses[key] = str(
                network[1 + sum(ipaddress.ip_address(s) in network for s in self._addresses.values())]
            )
        return f"[{self._addresses[key]}]:{address.port}"

    def _hops(self, hops: HopsObservation) -> HopsObservation:
        traces = tuple(
            msgspec.structs.replace(
                trace,
                hops=tuple(
                    msgspec.structs.replace(hop, router=self._router(hop.router), round_trip_ms=None)
                    for hop in trace.hops
                ),
            )
            for trace in hops.traces
        )
        return msgspec.structs.replace(hops, traces=traces, connect_ms=None, answer_ms=None)

    def _router(self, router: str | None) -> str | None:
        """The label of a router: those of this machine's own network keep their prefix."""
        if router is None:
            return None
        prefix = OWN_NETWORK if router.startswith(OWN_NETWORK) else "router-"
        if router not in self._routers:
            self._routers[router] = f"{prefix}{1 + sum(s.startswith(prefix) for s in self._routers.values())}"
        return self._routers[router]


def _endpoint(content: form.RecordedEndpoint) -> form.RecordedEndpoint | None:
    """The evidence on an endpoint without sentences and answers that may name the client."""
    if not is_reportable(content.expected.host):
        return None
    party = content.claimed.attribution
    return msgspec.structs.replace(
        content,
        looks=tuple(_connection(seen, content.expected.witness) for seen in content.looks),
        claimed=msgspec.structs.replace(
            content.claimed,
            attribution=None
            if party is None
            else msgspec.structs.replace(
                party, basis="", category=party.category if _SLUG.match(party.category) else "unknown"
            ),
        ),
    )


def _connection(seen: form.Connection, witness_keys: tuple[bytes, ...]) -> form.Connection:
    """A connection without what names the client; words of TLS are those of the registries."""
    seen = packing.without_client(seen, witness_keys)
    return msgspec.structs.replace(
        seen,
        ja4=seen.ja4 if _JA4.match(seen.ja4 or "") else None,
        tls_version=_registered(seen.tls_version, codepoints.VERSIONS),
        cipher=_registered(seen.cipher, codepoints.CIPHER_SUITES),
        group=_registered(seen.group, codepoints.GROUPS),
        alpn=seen.alpn if seen.alpn in _PROTOCOLS else None,
    )


def _registered(name: str | None, registry: dict[int, str]) -> str | None:
    """A name of the registry, or the number of a code point without one."""
    return name if name in registry.values() or _CODE_POINT.match(name or "") else None


def _public_url(url: str) -> str:
    """The URL of a control request: its scheme and host where that is public, else nothing."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}/" if is_reportable(host) else ""


def _distance(connect_ms: float) -> float:
    """The stand-in for how long a connection took."""
    if connect_ms < LOCAL_CONNECT_MS:
        return NEAR_MS[0]
    return NEAR_MS[2] if connect_ms > REMOTE_CONNECT_MS else NEAR_MS[1]
