"""Worlds made by chance: what an interceptor can choose of a chain, and what innocent servers present.

Used by test_properties.py. Every world is described by a small record that Hypothesis can shrink, and turned into real
certificates by `Maker`. Nothing is sent anywhere.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from detector_testing import der
from detector_testing.pki import CA, SCT_LIST, PrivateKey, encode_sct_list, generate_key, sct_list_of
from hypothesis import strategies as st

from detector.judge.evidence import Context, EndpointEvidence
from detector.knowledge import ct_logs
from detector.model import Endpoint, Observation, Outcome, RecordedIdentity, RootOrigin, Route
from detector.trust.certificate import Certificate
from detector.trust.roots import NO_LIMITS, Limits, Root, Roots, from_der

from . import worlds
from .data_sets import with_parts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector_testing import Issued, PrivatePKI

    from detector.trust.ct_logs import LogList

HOST: Final = "exam.example.edu"


class Signer(enum.Enum):
    """What an interceptor signs with."""

    PRIVATE = "a private CA"
    ADDED = "a CA whose root was added to the machine"
    POLICY = "a CA whose root a policy put there"
    UNKNOWN_ORIGIN = "a CA whose root the machine trusts, nobody knows why"
    EMAIL_ONLY = "a sub-CA below a public root, for e-mail"
    TOO_DEEP = "a CA below a public sub-CA that may have none"
    PUBLIC_SERVER = "the key of a public server's certificate"
    MISISSUING = "a sub-CA below a public root, for servers"
    REVOKED = "a sub-CA below a public root that browsers revoked"
    REVOKED_KEY = "a sub-CA whose key browsers revoked, certified by another public root since"
    DISTRUSTED = "a sub-CA below a root of which browsers take nothing new"
    OUTSIDE = "a sub-CA below a root that browsers take for other names only"


class Timestamps(enum.Enum):
    """SCTs that an interceptor can put into a leaf."""

    NONE = "none"
    JUNK = "of logs that nobody knows"
    COPIED = "those of the genuine leaf"
    VALID = "signed by known logs over this very leaf"
    DAMAGED = "a list that cannot be read"


class Dates(enum.Enum):
    """Validity that an interceptor can write."""

    USUAL = "usual"
    LONG = "ten years"
    BEFORE_LOGS = "from before certificates were logged, to next year"
    YOUNG = "from yesterday"
    BACK = "dated back to before a root was distrusted"


class Company(enum.Enum):
    """What is sent behind the leaf."""

    ISSUER = "its issuer"
    NOTHING = "nothing"
    GENUINE = "the host's genuine chain"
    BOTH = "its issuer and the genuine chain"
    JUNK = "its issuer among forty strangers"
    UNREADABLE = "its issuer, re-signed with an algorithm that nobody knows"


@dataclasses.dataclass(frozen=True)
class Forgery:
    """What an interceptor chose."""

    signer: Signer = Signer.PRIVATE
    timestamps: Timestamps = Timestamps.NONE
    dates: Dates = Dates.USUAL
    company: Company = Company.ISSUER
    extensions: int = 0
    names: int = 0
    fetchable: bool = False
    own_key_for_every_leaf: bool = False


forgeries: Final = st.builds(
    Forgery,
    signer=st.sampled_from(Signer),
    timestamps=st.sampled_from(Timestamps),
    dates=st.sampled_from(Dates),
    company=st.sampled_from(Company),
    extensions=st.sampled_from([0, 0, 0, 5, 70]),
    names=st.sampled_from([0, 0, 0, 40, 2100]),
    fetchable=st.booleans(),
    own_key_for_every_leaf=st.booleans(),
)


class Known(enum.Enum):
    """What is known of the endpoint."""

    NOTHING = "nothing"
    STATED = "its public roots are stated"
    PINNED = "pins of a chain that was accepted and logged"
    PINS_OF_UNKNOWN = "pins, of which nothing is recorded"
    DECLARED = "a private root of its own, which did not sign this"


class Server(enum.Enum):
    """What an innocent server presents."""

    GENUINE = "a logged chain"
    ROTATED = "a logged chain with another key than the pinned one"
    OTHER_CA = "a logged chain below another public CA"
    NO_INTERMEDIATE = "a logged leaf, its intermediate forgotten"
    SELF_SIGNED = "a self-signed certificate"
    PRIVATE_PKI = "a chain of a private PKI"
    PRIVATE_PKI_ADDED = "a chain of a private PKI whose root the machine trusts"
    EXPIRED = "a logged chain that expired"
    WRONG_NAME = "a logged chain for another name"
    PORTAL = "a portal's self-signed certificate"
    CERTIFIED_ANEW = "a logged chain, and the revoked certificate of its CA as well"
    DECOMMISSIONED = "a logged chain that expired before its CA was revoked"
    BEFORE_DISTRUST = "a logged chain of a root that is distrusted since"
    WITHIN_LIMITS = "a logged chain of a root that is trusted for names like this one"


DISTRUSTED_DAYS: Final = 60
"""How many days ago browsers ceased to take new certificates of one root; a usual leaf here is younger."""
REVOKED_DAYS: Final = 9
"""How many days ago CAs were revoked."""


def _roots(limits: Mapping[CA, Limits], date: dt.date) -> Roots:
    roots = (
        Root(ca.subject.rfc4514_string(), Certificate.read(ca.certificate), limits=one) for ca, one in limits.items()
    )
    return Roots(roots, name="public roots", version="", date=date)


@functools.lru_cache(maxsize=4)
def _logs_of(listing: bytes) -> LogList:
    return ct_logs.parse(listing, name="test logs")


class Maker:
    """Turns descriptions into certificates. CAs are made once; leaves for each example."""

    def __init__(self, pki: PrivatePKI) -> None:
        self.pki = pki
        self.private = pki.private_ca("Filter CA")
        self.campus = pki.private_ca("Campus CA")
        self.leaf_key = generate_key()
        self.genuine = pki.issue([HOST])
        self.rotated = pki.issue([HOST])
        self.other_ca = pki.issue([HOST], key="rsa")
        self.stranger = pki.private_ca("Stranger 0")
        others = (pki.private_ca(f"Stranger {number}").certificate for number in range(1, 40))
        self.strangers = (self.stranger.certificate, *others)
        root = pki.root_b
        leaving, national, academic = map(pki.private_ca, ("Leaving Root", "National Root", "Academic Root"))
        self.roots = _roots(
            {
                pki.root_a: NO_LIMITS,
                pki.root_b: NO_LIMITS,
                leaving: Limits(distrust_after=pki.now.date() - dt.timedelta(days=DISTRUSTED_DAYS)),
                national: Limits(permitted_names=("example.org",)),
                academic: Limits(permitted_names=("example.org", "example.edu")),
            },
            pki.now.date(),
        )
        lost, lost_key, self.renewed, self.old = (
            worlds.below(root, name) for name in ("Lost CA", "Lost Key CA", "Renewed CA", "Old CA")
        )
        self.leaving, self.academic = worlds.below(leaving, "Leaving CA"), worlds.below(academic, "Academic CA")
        since = pki.now - dt.timedelta(days=REVOKED_DAYS)
        revoked = (lost.certificate, self.renewed.certificate, self.old.certificate)
        listed = worlds.revocations(dict.fromkeys(revoked, since), {lost_key.certificate: since})
        self.data = with_parts(revocations=listed)
        self.signers = {
            **dict.fromkeys((Signer.PRIVATE, Signer.ADDED, Signer.POLICY, Signer.UNKNOWN_ORIGIN), self.private),
            Signer.EMAIL_ONLY: self._below(root, "E-mail CA", ExtendedKeyUsageOID.EMAIL_PROTECTION),
            Signer.MISISSUING: self._below(root, "Server CA", ExtendedKeyUsageOID.SERVER_AUTH),
            Signer.TOO_DEEP: self._below(pki.intermediate_ec, "Too Deep CA", ExtendedKeyUsageOID.SERVER_AUTH),
            Signer.PUBLIC_SERVER: self._public_server(),
            Signer.REVOKED: lost,
            Signer.REVOKED_KEY: worlds.in_name_of(lost_key, pki.root_a),
            Signer.DISTRUSTED: self.leaving,
            Signer.OUTSIDE: worlds.below(national, "National CA"),
        }

    def _below(self, issuer: CA, name: str, purpose: x509.ObjectIdentifier) -> CA:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = _base(subject, issuer.subject, key, self.pki.now - dt.timedelta(days=400), dt.timedelta(days=1500))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        certificate = _signed(builder, issuer)
        chain = (certificate, *issuer.chain)
        return CA(certificate=certificate, key=key, subject=subject, key_identifier=None, chain=chain, now=self.pki.now)

    def _public_server(self) -> CA:
        """The interceptor's own public certificate, whose key it signs with."""
        own = self.pki.issue(["filter.example.net"])
        subject = x509.load_der_x509_certificate(own.leaf).subject
        return CA(
            certificate=own.leaf, key=own.key, subject=subject, key_identifier=None, chain=own.chain, now=self.pki.now
        )

    # Intercepted

    def forged(self, forgery: Forgery, host: str = HOST) -> tuple[bytes, ...]:
        """The chain that an interceptor sends."""
        leaf = self._forged_leaf(forgery, host)
        ca = self.signers[forgery.signer]
        issuer = ca.chain or (ca.certificate,)
        behind: dict[Company, tuple[bytes, ...]] = {
            Company.ISSUER: issuer,
            Company.NOTHING: (),
            Company.GENUINE: self.genuine.chain,
            Company.BOTH: (*issuer, *self.genuine.chain),
            Company.JUNK: (*self.strangers[:20], *issuer, *self.strangers[20:]),
            Company.UNREADABLE: (_with_unknown_algorithm(issuer[0]), *issuer[1:]),
        }
        return (leaf, *behind[forgery.company])

    def _forged_leaf(self, forgery: Forgery, host: str) -> bytes:
        now, ca = self.pki.now, self.signers[forgery.signer]
        begins, lives = {
            Dates.USUAL: (now - dt.timedelta(days=30), dt.timedelta(days=90)),
            Dates.LONG: (now - dt.timedelta(days=30), dt.timedelta(days=3650)),
            Dates.BEFORE_LOGS: (dt.datetime(2017, 6, 1, tzinfo=dt.UTC), dt.timedelta(days=365 * 12)),
            Dates.YOUNG: (now - dt.timedelta(days=1), dt.timedelta(days=90)),
            Dates.BACK: (now - dt.timedelta(days=DISTRUSTED_DAYS + 10), dt.timedelta(days=90)),
        }[forgery.dates]
        key = self.leaf_key if forgery.own_key_for_every_leaf else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        builder = _base(subject, ca.subject, key, begins, lives)
        names = [x509.DNSName(f"n{number}.example.net") for number in range(forgery.names)]
        builder = builder.add_extension(x509.SubjectAlternativeName([*names, x509.DNSName(host)]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        for number in range(forgery.extensions):
            oid = x509.ObjectIdentifier(f"1.2.3.4.{number + 10}")
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, b"\x05\x00"), critical=False)
        if forgery.fetchable:
            access = x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.example.net/ca.crt")
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        scts = self._scts(forgery, builder, ca, begins)
        if scts is not None:
            builder = builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, scts), critical=False)
        return _signed(builder, ca)

    def _scts(self, forgery: Forgery, builder: x509.CertificateBuilder, ca: CA, begins: dt.datetime) -> bytes | None:
        match forgery.timestamps:
            case Timestamps.NONE:
                return None
            case Timestamps.DAMAGED:
                return b"\x04\x03\x00\x09\x00"
            case Timestamps.COPIED:
                return sct_list_of(self.genuine.leaf)
        logs = self.pki.ct_logs[:3] if forgery.timestamps is Timestamps.VALID else self.pki.unknown_logs[:3]
        tbs = x509.load_der_x509_certificate(_signed(builder, ca)).tbs_certificate_bytes
        # A log writes the time at which it was asked, whatever date the leaf has.
        asked = self.pki.now if forgery.dates is Dates.BACK else begins + dt.timedelta(hours=1)
        at = min(asked, self.pki.now)
        return encode_sct_list([log.sct(tbs, ca.spki_sha256, at=at) for log in logs])

    def intercepted(self, forgery: Forgery, known: Known = Known.NOTHING, **more: Any) -> EndpointEvidence:  # noqa: ANN401 - fields of Endpoint
        """The evidence on an endpoint behind that interceptor, its root on the machine where the signer says so."""
        origins = {
            Signer.ADDED: RootOrigin.ADDED,
            Signer.POLICY: RootOrigin.POLICY,
            Signer.UNKNOWN_ORIGIN: RootOrigin.UNKNOWN,
        }
        origin = origins.get(forgery.signer)
        machine = [] if origin is None else [self.private.certificate]
        held = self.context(machine=machine, origin=origin or RootOrigin.UNKNOWN)
        endpoint = self.endpoint(known, **more)
        return self.evidence(self.forged(forgery, endpoint.host), endpoint, held)

    # Innocent

    def innocent(self, server: Server, known: Known = Known.NOTHING, **more: Any) -> EndpointEvidence:  # noqa: ANN401 - fields of Endpoint
        """The evidence on an endpoint that nobody intercepts."""
        past = self.pki.now - dt.timedelta(days=200)
        chains = {
            Server.GENUINE: lambda: self.genuine.chain,
            Server.ROTATED: lambda: self.rotated.chain,
            Server.OTHER_CA: lambda: self.other_ca.chain,
            Server.NO_INTERMEDIATE: lambda: self.rotated.chain[:1],
            Server.SELF_SIGNED: lambda: self.pki.self_signed([HOST]).chain,
            Server.PRIVATE_PKI: lambda: (*self.campus.issue([HOST]).chain, self.campus.certificate),
            Server.PRIVATE_PKI_ADDED: lambda: (*self.campus.issue([HOST]).chain, self.campus.certificate),
            Server.EXPIRED: lambda: self.pki.issue([HOST], not_before=past).chain,
            Server.WRONG_NAME: lambda: self.pki.issue(["other.example.net"]).chain,
            Server.PORTAL: lambda: self.pki.self_signed(["portal.hotel.example"]).chain,
            Server.CERTIFIED_ANEW: lambda: (
                *self._issued_before(self.renewed).chain,
                worlds.in_name_of(self.renewed, self.pki.root_a).certificate,
            ),
            Server.DECOMMISSIONED: lambda: self._issued_before(self.old, days=REVOKED_DAYS + 99).chain,
            Server.BEFORE_DISTRUST: lambda: self._issued_before(self.leaving).chain,
            Server.WITHIN_LIMITS: lambda: self._issued_before(self.academic).chain,
        }
        machine = [self.campus.certificate] if server is Server.PRIVATE_PKI_ADDED else []
        return self.evidence(chains[server](), self.endpoint(known, **more), self.context(machine=machine))

    def _issued_before(self, ca: CA, *, days: int = DISTRUSTED_DAYS + 1) -> Issued:
        """A leaf of three months, issued so many days ago and logged an hour later."""
        begins = self.pki.now - dt.timedelta(days=days)
        scts = worlds.timestamps(self.pki.ct_logs[:2], begins + dt.timedelta(hours=1))
        return ca.issue([HOST], not_before=begins, sct_list=scts, aia=["http://ca.example/issuing.der"])

    def strangers_leaf(self, host: str) -> bytes:
        """A leaf for another host, signed by another interceptor's CA."""
        return self.stranger.issue([host]).leaf

    # Parts

    def context(self, *, machine: Sequence[bytes] = (), origin: RootOrigin = RootOrigin.ADDED) -> Context:
        """What worlds are held against: the test PKI as the public one, with lists made today."""
        installed = from_der(machine, name="machine", origin=origin)
        return Context(
            at=self.pki.now,
            data=self.data,
            roots=self.roots,
            logs=_logs_of(self.pki.ct_log_list_json()),
            machine_roots=lambda: installed,
        )

    def endpoint(self, known: Known, **more: Any) -> Endpoint:  # noqa: ANN401 - fields of Endpoint
        """The endpoint, with what is known of it."""
        pins = (self.genuine.spki_sha256, self.pki.intermediate_ec.spki_sha256)
        fields: dict[Known, dict[str, Any]] = {
            Known.NOTHING: {},
            Known.STATED: {"roots": ("Exemplar Root X2",)},
            Known.PINNED: {"pins": pins, "identity": RecordedIdentity.PUBLIC},
            Known.PINS_OF_UNKNOWN: {"pins": pins},
            Known.DECLARED: {"private_roots": (self.strangers[0],)},
        }
        return Endpoint(**{"host": HOST, **fields[known], **more})

    @staticmethod
    def evidence(
        chain: Sequence[bytes],
        endpoint: Endpoint,
        held: Context,
        *,
        key_proved: bool = True,
        address: str = "93.184.215.14:443",
    ) -> EndpointEvidence:
        """The evidence on one observation of this chain."""
        observation = Observation(
            outcome=Outcome.COMPLETE,
            key_proved=key_proved,
            route=Route.DIRECT,
            address=address,
            scts_carried=True,
            chain=tuple(Certificate.read(c).presented() for c in chain),
        )
        return EndpointEvidence(endpoint, observation, held)


def _base(
    subject: x509.Name,
    issuer: x509.Name,
    key: PrivateKey,
    begins: dt.datetime,
    lives: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + lives)
    )


def _signed(builder: x509.CertificateBuilder, ca: CA) -> bytes:
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _with_unknown_algorithm(certificate: bytes) -> bytes:
    """The certificate with a signature algorithm that nobody knows: its key stays, its signature says nothing."""
    tbs, _, signature = der.children(certificate)
    algorithm = der.encode(der.SEQUENCE, bytes.fromhex("06042a030405"))
    return der.encode(der.SEQUENCE, tbs, algorithm, signature)
