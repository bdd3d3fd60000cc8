"""The format of an evidence bundle: what is in the file, and reading it.

Room: bundle. Pure: bytes in, records out. Nothing is assessed here, and whether a signer is trusted is not decided.

A bundle is one JSON object (docs/evidence-bundle.md, docs/bundle.schema.json):

    envelope    a DSSE envelope around the manifest: what was claimed, and the digest of every part
    parts       the parts themselves: a name, a salt and a content, which is JSON as text

The digest of a part is SHA-256 over the text of its salt followed by the text of its content, exactly as in the file,
so no canonical form is needed. A part can be removed: its digest stays in the signed manifest, so everyone can see that
something is missing, and the salt prevents guessing its content (the idea of RFC 9901, SD-JWT). Parts are numbered, so
that a removed part is not named either.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self, TypeVar

import msgspec

from detector.errors import BundleError
from detector.model import (
    Alternative,
    Assurance,
    Attribution,
    Category,
    Confidence,
    Endpoint,
    EndpointName,
    Engine,
    FailedAttempt,
    HandshakeSignature,
    Hello,
    HopsObservation,
    KeyKind,
    Knowledge,
    KnowledgeKind,
    MachineRoot,
    Outcome,
    PortalObservation,
    Reason,
    Record,
    RecordedIdentity,
    Route,
    Scope,
    ServerDate,
    UnfollowedProxy,
    Verdict,
    WitnessObservation,
    encode,
    json_text,
    normalize_schema,
)
from detector.model.record import Count, Moment, Port  # noqa: TC001 - msgspec reads the annotations at run time
from detector.pins import parse_host
from detector.trust import envelope as envelopes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector.model import Result

SCHEMA_VERSION: Final = 1
"""Version of the format; increases only if a reader of the old one would misread the new one."""

PAYLOAD_TYPE: Final = "application/vnd.tls-interception.bundle-manifest.v1+json"
"""Type of the signed payload."""

FORMAT: Final = "tls-interception-evidence-bundle"
"""Identifies the file type."""

BUNDLE_BYTES_MAX: Final = 128 * 1024 * 1024
"""Bytes of a bundle. An honest endpoint takes 6 to 10 KiB; a peer that wants to prevent recording can send 2 MiB of
certificates on each of the forty shipped endpoints, and even that fits."""

ENDPOINTS_MAX: Final = 1024
"""Endpoints in one bundle. Each may cost the reader 0.2 s of signature checks if the bundle is malicious."""

LIST_MAX: Final = 256
"""Entries of any list within a part: as many certificates as the probe takes from a peer."""

CONNECTIONS_MAX: Final = 81
"""Connections to one endpoint: the first, and as many more as `detector.judge.evidence` keeps."""

TIMESTAMPS_BYTES_MAX: Final = 64 * 1024
"""Bytes of an SCT list or an OCSP response sent with the leaf: as many as the probe keeps of either."""

STAMPS_MAX: Final = 8
"""Timestamps of one bundle that are read: those of two authorities at each of some signings. Each costs 2 ms."""

STAMP_BYTES_MAX: Final = 64 * 1024
"""Bytes of one timestamp; an authority's answer with its chain has 2 to 7 KiB."""

SALT_BYTES: Final = 32
"""Random bytes of a salt (RFC 9901 section 9.3 requires at least 16)."""

EARLIEST: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
LATEST: Final = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
"""Range of plausible clock times: the first is that of a clock that was never set."""

_SALT: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")
"""32 bytes in base64url without padding (RFC 4648 section 5)."""

_ADVICE: Final = "Ask its author for the original, unedited file."

_NUMBERED_NAME: Final = re.compile(r"[a-z]+-[1-9][0-9]{0,3}\Z")
_PLAIN_NAME: Final = re.compile(r"[a-z]+\Z")

T = TypeVar("T")

Text = Annotated[str, msgspec.Meta(max_length=1024)]
Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Digests = Annotated[tuple[bytes, ...], msgspec.Meta(max_length=LIST_MAX)]
Certificates = Annotated[tuple[bytes, ...], msgspec.Meta(max_length=LIST_MAX)]
Timestamps = Annotated[bytes, msgspec.Meta(max_length=TIMESTAMPS_BYTES_MAX)]
MachineRoots = Annotated[tuple[MachineRoot, ...], msgspec.Meta(max_length=LIST_MAX)]
Names = Annotated[tuple[Text, ...], msgspec.Meta(max_length=LIST_MAX)]


class _Strict(Record, frozen=True, forbid_unknown_fields=True):
    """A record whose unknown fields are refused: unread content could claim anything."""


class PartKind(enum.StrEnum):
    """Kinds of parts."""

    ENDPOINT = "endpoint"
    CIRCUMSTANCES = "circumstances"
    PORTAL = "portal"
    DATES = "dates"
    VANTAGE = "vantage"


NUMBERED: Final = frozenset({PartKind.ENDPOINT, PartKind.CIRCUMSTANCES})
"""Kinds with one part per endpoint; `endpoint-1` and `circumstances-1` belong together."""


class Claim(_Strict, frozen=True, kw_only=True):
    """The conclusion on one endpoint: the rule of the decision table and its result (docs/decisions.md)."""

    verdict: Verdict
    reason: Reason
    confidence: Confidence | None = None
    assurance: Assurance | None = None
    alternatives: tuple[Alternative, ...] = ()
    attribution: Attribution | None = None

    @classmethod
    def of(cls, result: Result) -> Self:
        """The conclusion of a result, without its evidence."""
        return cls(**{name: getattr(result, name) for name in cls.__struct_fields__})


class NetworkClaim(_Strict, frozen=True, kw_only=True):
    """The conclusion on the network.

    `inconclusive_counts` is whether the network is not called clean because an endpoint that was requested by name
    could not be assessed.
    """

    verdict: Verdict
    confidence: Confidence | None = None
    scope: Scope
    inconclusive_counts: bool = False


class PartEntry(_Strict, frozen=True, kw_only=True):
    """One part as the manifest lists it."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z]+(-[1-9][0-9]{0,3})?$")]
    kind: PartKind
    sha256: Hash


class Manifest(_Strict, frozen=True, kw_only=True):
    """The signed statement: which version assessed what when, with what, the conclusions, and the parts."""

    schema_version: Literal[1]
    detector_version: Text
    started: Moment
    finished: Moment
    claimed: NetworkClaim
    knowledge: Annotated[tuple[Knowledge, ...], msgspec.Meta(max_length=len(KnowledgeKind))]
    parts: Annotated[tuple[PartEntry, ...], msgspec.Meta(max_length=2 * ENDPOINTS_MAX + 3)]

    def __post_init__(self) -> None:
        """Raises `ValueError`, which msgspec turns into its own."""
        _possible(self.started, self.finished)


class Expected(_Strict, frozen=True, kw_only=True):
    """An endpoint as in the pin file, without its address and the file's name, and what else was known of it.

    `address_given` says that the caller or the pin file gave the address, `seen_before` that a history had the endpoint
    as genuine. `shared_pins` are presented leaf keys that are also pinned for other operators' endpoints.
    """

    host: Text
    port: Port
    category: Category
    pins: Digests = ()
    backup_pins: Digests = ()
    certificates: Digests = ()
    roots: Names = ()
    operator: Text | None = None
    private_roots: Certificates = ()
    witness: Digests = ()
    witness_is_end: bool = False
    identity: RecordedIdentity = RecordedIdentity.UNKNOWN
    canary: bool = False
    runs_ca: bool = False
    quic: bool = False
    expires: dt.date | None = None
    address_given: bool = False
    seen_before: bool = False
    shared_pins: Digests = ()

    def __post_init__(self) -> None:
        """Raises `TargetError`, a `ValueError`, which msgspec turns into its own."""
        parse_host(self.host)
        _ = self.endpoint  # which checks ports, digests and keys

    @property
    def name(self) -> str:
        """`host:port`, as in reports."""
        return EndpointName(host=self.host, port=self.port, category=self.category).name

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint alone."""
        return Endpoint(**{name: getattr(self, name) for name in OF_ENDPOINT})


OF_ENDPOINT: Final = tuple(name for name in Expected.__struct_fields__ if name in Endpoint.__struct_fields__)
"""Fields that `Expected` shares with `Endpoint`."""


class AnswerLeftOut(enum.StrEnum):
    """Why the body of a witness's answer is not in the bundle."""

    NOT_SIGNED = "not-signed"
    NAMES_THE_CLIENT = "names-the-client"


class Connection(_Strict, frozen=True, kw_only=True):
    """What one connection showed: the fields of `Observation`, and `chain` in DER as presented.

    `answer_left_out` says why the body of the witness's answer is missing: unless a pinned key signed it, it may be
    anything, even a page with the user's name, and a signed statement may name the machine that asked.
    """

    outcome: Outcome
    key_proved: bool = False
    route: Route = Route.NONE
    key_kind: KeyKind | None = None
    hello: Hello = Hello.BROWSER
    small_hello: bool = False
    earlier: Annotated[tuple[FailedAttempt, ...], msgspec.Meta(max_length=LIST_MAX)] = ()
    unfollowed_proxy: UnfollowedProxy | None = None
    repeat: Annotated[int, msgspec.Meta(ge=0)] = 0
    engine: Engine | None = None
    ja4: Text | None = None
    tls_version: Text | None = None
    cipher: Text | None = None
    group: Text | None = None
    alpn: Text | None = None
    alert: Count | None = None
    server_hello: bytes | None = None
    chain: Certificates = ()
    handshake_signature: HandshakeSignature | None = None
    sct_list: Timestamps | None = None
    ocsp_response: Timestamps | None = None
    scts_carried: bool = False
    witness: WitnessObservation | None = None
    answer_left_out: AnswerLeftOut | None = None


class RecordedEndpoint(_Strict, frozen=True, kw_only=True):
    """The evidence on one endpoint, and the conclusion: the content of a part `endpoint`.

    The first connection is that of `EndpointEvidence.observation`. `fetched` are issuers from the
    leaf's AIA URLs, `machine_roots` the roots of the machine that a verified path ends in (no others are recorded).
    """

    expected: Expected
    at: Moment
    looks: Annotated[tuple[Connection, ...], msgspec.Meta(min_length=1, max_length=CONNECTIONS_MAX)]
    fetched: Certificates = ()
    machine_roots: MachineRoots = ()
    claimed: Claim

    def __post_init__(self) -> None:
        """Raises `ValueError`, which msgspec turns into its own."""
        _possible(self.at)


class RouteDetails(_Strict, frozen=True, kw_only=True):
    """How one connection was made: the address, the request to a proxy, the hops, and timings."""

    address: Text | None = None
    asked_for: Text | None = None
    hops: HopsObservation | None = None
    attempts: Count = 1
    left_out: Count = 0
    timings_ms: dict[Text, float] = msgspec.field(default_factory=dict)


class Circumstances(_Strict, frozen=True, kw_only=True):
    """What locates an interceptor: the content of a part `circumstances`.

    It never decides whether there is one, but the confidence may depend on a private address (docs/decisions.md).
    `journeys` belong to the endpoint's connections, in their order; `installed_at` maps the SHA-256 of machine roots to
    when they were installed.
    """

    journeys: Annotated[tuple[RouteDetails, ...], msgspec.Meta(max_length=CONNECTIONS_MAX)] = ()
    installed_at: dict[Hash, Moment] = msgspec.field(default_factory=dict)


class Dates(_Strict, frozen=True, kw_only=True):
    """The times that HTTP servers reported: the content of the part `dates`."""

    dates: Annotated[tuple[ServerDate, ...], msgspec.Meta(max_length=LIST_MAX)]

    def __post_init__(self) -> None:
        """Raises `ValueError`, which msgspec turns into its own."""
        if any(date.said.tzinfo is None or date.ours.tzinfo is None for date in self.dates):
            raise ValueError("a time has no offset")


class Vantage(_Strict, frozen=True, kw_only=True):
    """The place this ran from, in the caller's words: the content of the part `vantage`."""

    vantage: Text


Content = RecordedEndpoint | Circumstances | PortalObservation | Dates | Vantage

CONTENT_OF: Final[dict[PartKind, type[Content]]] = {
    PartKind.ENDPOINT: RecordedEndpoint,
    PartKind.CIRCUMSTANCES: Circumstances,
    PartKind.PORTAL: PortalObservation,
    PartKind.DATES: Dates,
    PartKind.VANTAGE: Vantage,
}


class CarriedPart(_Strict, frozen=True, kw_only=True):
    """A part as the file carries it; `content` is JSON as text."""

    name: str
    salt: str
    content: str

    @property
    def sha256(self) -> str:
        """The digest in the manifest. The salt's length is fixed, so salt and content cannot be confused."""
        return hashlib.sha256((self.salt + self.content).encode()).hexdigest()


class BundleFile(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """The file. `envelope` is a DSSE envelope, kept unchanged.

    `timestamps` are answers of time-stamping authorities (RFC 3161, TimeStampResp in DER) over the manifest: over the
    payload of the envelope, as decoded from base64. No signature covers them, and each stands for itself.
    """

    format: Literal["tls-interception-evidence-bundle"]
    envelope: msgspec.Raw
    parts: Annotated[tuple[CarriedPart, ...], msgspec.Meta(max_length=2 * ENDPOINTS_MAX + 3)]
    timestamps: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=STAMP_BYTES_MAX)], ...], msgspec.Meta(max_length=STAMPS_MAX)
    ] = ()


class PartState(enum.StrEnum):
    """State of a part since the manifest was written."""

    INTACT = "intact"
    TAMPERED = "tampered"
    REDACTED = "redacted"


class Part(NamedTuple):
    """A part of the manifest and its state; `content` is None unless the part is intact."""

    entry: PartEntry
    state: PartState
    content: Content | None = None

    @property
    def number(self) -> int:
        """The endpoint it belongs to, counted from one; 0 for unnumbered parts."""
        return int(self.entry.name.partition("-")[2] or 0)


class Bundle(NamedTuple):
    """A bundle that was read but not yet verified; `payload` is the manifest as it was signed."""

    file: BundleFile
    payload: bytes
    manifest: Manifest
    signers: tuple[envelopes.Signer, ...]
    parts: tuple[Part, ...]


def seal(manifest: Manifest, parts: Iterable[CarriedPart], keys: Iterable[Ed25519PrivateKey]) -> BundleFile:
    """A bundle of these parts; `manifest` lists them."""
    envelope = envelopes.seal(encode(manifest), payload_type=PAYLOAD_TYPE, keys=keys)
    return BundleFile(format=FORMAT, envelope=msgspec.Raw(envelope), parts=tuple(parts))


def write(file: BundleFile) -> bytes:
    """The bytes of the file, ending in a newline."""
    return encode(file) + b"\n"


def read(data: bytes) -> Bundle:
    """Read a bundle: the manifest, its signers, and every part whose digest is the one in the manifest.

    A part that was changed or removed has no content. Raises `BundleError` for a file that is not a bundle: not JSON,
    too large, of another format, or with parts that the manifest does not list or lists twice.
    """
    if len(data) > BUNDLE_BYTES_MAX:
        raise _refused(f"larger than {BUNDLE_BYTES_MAX // 1024 // 1024} MiB")
    file = _decode(data, BundleFile, "the file")
    unsealed = envelopes.unseal(bytes(file.envelope), payload_type=PAYLOAD_TYPE)
    if unsealed.problem is not None:
        raise _refused(f"its envelope cannot be opened ({unsealed.problem})")
    manifest = _decode(unsealed.payload, Manifest, "the manifest")
    carried = {part.name: part for part in file.parts}
    listed = {entry.name: entry for entry in manifest.parts}
    if len(carried) != len(file.parts) or len(listed) != len(manifest.parts):
        raise _refused("a part is contained or listed twice")
    if carried.keys() - listed.keys():
        raise _refused("it has a part that the manifest does not list")
    parts = tuple(_part(entry, carried.get(entry.name)) for entry in manifest.parts)
    return Bundle(file, unsealed.payload, manifest, unsealed.signers, parts)


def _part(entry: PartEntry, carried: CarriedPart | None) -> Part:
    fitting = _NUMBERED_NAME if entry.kind in NUMBERED else _PLAIN_NAME
    if not fitting.match(entry.name) or not entry.name.startswith(entry.kind):
        raise _refused(f"part {entry.name!r} does not have the name of its kind, {entry.kind}")
    if carried is None:
        return Part(entry, PartState.REDACTED)
    if not _SALT.match(carried.salt) or carried.sha256 != entry.sha256:
        return Part(entry, PartState.TAMPERED)
    return Part(
        entry, PartState.INTACT, _decode(carried.content.encode(), CONTENT_OF[entry.kind], f"part {entry.name}")
    )


def redact(data: bytes, names: Collection[str]) -> bytes:
    """Remove the parts with these names from a bundle. Their digests stay, and every signature stays valid.

    Raises `BundleError` for a name that the manifest does not list; removing a part twice is not an error.
    """
    bundle = read(data)
    listed = {part.entry.name for part in bundle.parts}
    for name in names:
        if name not in listed:
            raise BundleError(
                f"The bundle has no part {name[:100]!r}.", advice=f"Its parts are {', '.join(sorted(listed))}."
            )
    kept = tuple(part for part in bundle.file.parts if part.name not in names)
    return write(msgspec.structs.replace(bundle.file, parts=kept))


def sign(data: bytes, keys: Iterable[Ed25519PrivateKey]) -> bytes:
    """Add a signature by each of `keys`. Raises `BundleError`, also where a part does not fit the manifest."""
    bundle = read_unchanged(data)
    try:
        envelope = envelopes.add_signatures(bytes(bundle.file.envelope), payload_type=PAYLOAD_TYPE, keys=keys)
    except ValueError:
        raise _refused(f"it has {len(bundle.signers)} signatures and no room for another") from None
    return write(msgspec.structs.replace(bundle.file, envelope=msgspec.Raw(envelope)))


def add_timestamp(data: bytes, response: bytes) -> bytes:
    """Add the answer of a time-stamping authority. Raises `BundleError`, also where there is no room for it."""
    bundle = read_unchanged(data)
    if len(bundle.file.timestamps) == STAMPS_MAX:
        raise _refused(f"it has {STAMPS_MAX} timestamps and no room for another")
    return write(msgspec.structs.replace(bundle.file, timestamps=(*bundle.file.timestamps, response)))


def read_unchanged(data: bytes) -> Bundle:
    """Read a bundle whose parts are what the manifest lists, or taken out. Raises `BundleError`."""
    bundle = read(data)
    for part in bundle.parts:
        if part.state is PartState.TAMPERED:
            raise _refused(f"part {part.entry.name} was changed since the manifest was written")
    return bundle


def bundle_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a bundle; `contentSchema` describes its texts: manifest and contents of parts."""
    kinds = (BundleFile, Manifest, *CONTENT_OF.values())
    _, defs = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    as_json = {"type": "string", "contentMediaType": "application/json"}
    contents = [{"$ref": f"#/$defs/{kind.__name__}"} for kind in CONTENT_OF.values()]
    defs["CarriedPart"]["properties"] |= {
        "salt": {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"},
        "content": {**as_json, "contentSchema": {"anyOf": contents}},
    }
    base64 = {"type": "string", "contentEncoding": "base64"}
    signature = {"keyid": {"type": "string", "pattern": "^ed25519/"}, "sig": base64}
    envelope = {
        "payloadType": {"const": PAYLOAD_TYPE},
        "payload": {**as_json, **base64, "contentSchema": {"$ref": "#/$defs/Manifest"}},
        "signatures": {"type": "array", "maxItems": envelopes.SIGNATURES_MAX, "items": _exactly(signature)},
    }
    defs["BundleFile"]["properties"]["envelope"] = {"$ref": "#/$defs/Envelope"}
    defs["Envelope"] = {"title": "Envelope", "description": "A DSSE envelope (docs/evidence-bundle.md)."} | _exactly(
        envelope
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "detector evidence bundle",
        "$ref": "#/$defs/BundleFile",
        "$defs": normalize_schema(defs),
    }


def _exactly(properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with these properties and no others."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _decode(data: bytes, kind: type[T], what: str) -> T:
    try:
        return json_text.decode_unambiguous(data, kind)
    except json_text.MalformedError as error:
        raise _refused(f"{what} cannot be read ({error})") from error


def _refused(reason: str) -> BundleError:
    return BundleError(f"Not a bundle that can be used: {reason}.", advice=_ADVICE)


def _possible(*moments: dt.datetime) -> None:
    if not all(EARLIEST <= moment < LATEST for moment in moments):
        raise ValueError(f"a time is not between {EARLIEST.year} and {LATEST.year}")
