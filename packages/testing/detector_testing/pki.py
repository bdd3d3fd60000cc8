"""A private PKI shaped like the public one, and the private CAs of interceptors.

Room: testing. Pure apart from randomness, one default for the time, and the methods that write files or configure
contexts. Shape and names are the same in every run, keys are fresh.

    Exemplar Root R1 (RSA) ──▶ Exemplar RSA Issuing CA R11 ──▶ leaves with RSA keys
          └─ cross-signs ─▶ Exemplar Root X2 (P-384) ──▶ Exemplar ECDSA Issuing CA E5 ──▶ leaves with EC keys

Leaves follow the CA/Browser Forum's Baseline Requirements (section 7.1.2.7) and carry valid SCTs (RFC 6962 section 3.2)
of test CT logs. A client that gets `PrivatePKI.roots_pem` and `PrivatePKI.ct_log_list_json` takes this PKI for the
public one.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import functools
import hashlib
import ipaddress
import json
import pathlib
import tempfile
from typing import TYPE_CHECKING, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponderEncoding, OCSPResponseBuilder
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from . import der
from .tls_wire import vector

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Sequence

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
"""The private keys of this PKI."""

KeyKind = Literal["ec", "ec384", "rsa", "rsa1024", "rsa3072", "ed25519"]
"""Kinds of keys: P-256, P-384, RSA of 2048, 1024 or 3072 bits, Ed25519."""

SCT_LIST: Final = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
"""The extension that holds embedded SCTs (RFC 6962 section 3.3)."""

OCSP_SCT_LIST: Final = bytes.fromhex("060a2b06010401d679020405")
"""OBJECT IDENTIFIER 1.3.6.1.4.1.11129.2.4.5 in DER: SCTs in a single response of OCSP (RFC 6962 section 3.3)."""

DOMAIN_VALIDATED: Final = x509.ObjectIdentifier("2.23.140.1.2.1")
"""The policy of domain-validated certificates (CA/Browser Forum Baseline Requirements section 7.1.6.1)."""

LEAF_AGE: Final = dt.timedelta(days=30)
LEAF_LIFE: Final = dt.timedelta(days=90)
"""A leaf is in its second month of three; most public leaves are valid for ninety days."""

SCT_DELAY: Final = dt.timedelta(hours=1)
"""Public CAs backdate `notBefore` by about an hour before the SCTs."""

MAXIMUM_COMMON_NAME: Final = 64
"""Characters in a common name (RFC 5280 appendix A.1, ub-common-name)."""

_YEAR: Final = dt.timedelta(days=365)
_ALGORITHM_SHA1_RSA: Final = bytes.fromhex("300d06092a864886f70d0101050500")
"""AlgorithmIdentifier of sha1WithRSAEncryption (RFC 3279 section 2.2.1)."""
_EXPLICIT_VERSION: Final = 0xA0
_EXPLICIT_EXTENSIONS: Final = 0xA3
_EXPLICIT_SINGLE_EXTENSIONS: Final = 0xA1
"""Tags of the two fields of TBSCertificate that version 1 lacks (RFC 5280 section 4.1), the first also of responseBytes
in an OCSPResponse; and of singleExtensions (RFC 6960 section 4.2.1)."""


class CopiedField(enum.StrEnum):
    """What a forger copies from the genuine leaf."""

    SUBJECT = "subject"
    NAMES = "names"
    SERIAL = "serial"
    DATES = "dates"


def generate_key(kind: KeyKind = "ec") -> PrivateKey:
    """Make a fresh private key."""
    match kind:
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case "ec384":
            return ec.generate_private_key(ec.SECP384R1())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "rsa1024":
            return rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak keys are what some interceptors issue
        case "rsa3072":
            return rsa.generate_private_key(65537, 3072)
    raise ValueError(f"key kind {kind!r} is not known; use one of ec, ec384, rsa, rsa1024, rsa3072, ed25519")


def distinguished_name(common_name: str, organization: str | None = None, country: str | None = None) -> x509.Name:
    """Build a name of country, organization and common name, in the order public CAs write them."""
    attributes = [(NameOID.COUNTRY_NAME, country), (NameOID.ORGANIZATION_NAME, organization)]
    attributes.append((NameOID.COMMON_NAME, common_name))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes if value is not None])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Issued:
    """A certificate to serve: `chain` in DER, leaf first and without the root, and the leaf's private key."""

    chain: tuple[bytes, ...]
    key: PrivateKey

    @property
    def leaf(self) -> bytes:
        """The leaf in DER."""
        return self.chain[0]

    @property
    def spki_sha256(self) -> bytes:
        """SHA-256 of the leaf key's SubjectPublicKeyInfo: its pin (RFC 7469 section 2.4)."""
        return spki_sha256(self.key)

    @property
    def chain_pem(self) -> bytes:
        """The chain in PEM, leaf first."""
        return b"".join(to_pem(certificate) for certificate in self.chain)

    @property
    def key_pem(self) -> bytes:
        """The private key in PEM (PKCS #8, not encrypted)."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def configure_cert(self, context: ssl.SSLContext) -> None:
        """Make a server's (or client's) context present this chain and key."""
        # `ssl` reads chains and keys from files only.
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "chain-and-key.pem")
            file.touch(mode=0o600)
            file.write_bytes(self.chain_pem + self.key_pem)
            context.load_cert_chain(file)

    def with_chain(self, *certificates: bytes) -> Issued:
        """Return the same key with another chain (DER, leaf first): incomplete, disordered or padded."""
        return dataclasses.replace(self, chain=certificates)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CTLog:
    """A Certificate Transparency log that signs any SCT (RFC 6962)."""

    description: str
    operator: str
    url: str
    key: PrivateKey

    @property
    def public_key_der(self) -> bytes:
        """The log's SubjectPublicKeyInfo in DER."""
        return _spki(self.key)

    @property
    def log_id(self) -> bytes:
        """SHA-256 of the log's public key (RFC 6962 section 3.2)."""
        return hashlib.sha256(self.public_key_der).digest()

    def sct(
        self, entry: bytes, issuer_key_hash: bytes | None, *, at: dt.datetime, wrong_signature: bool = False
    ) -> bytes:
        """Sign one SCT (RFC 6962 section 3.2).

        `entry` is a precertificate's TBSCertificate in DER, with `issuer_key_hash`, SHA-256 of the issuing CA's
        SubjectPublicKeyInfo; without it, a certificate in DER, as for the TLS extension and OCSP. `wrong_signature`
        makes a well-formed SCT, signed by this log over other data.
        """
        timestamp = int(at.timestamp() * 1000).to_bytes(8, "big")
        version, certificate_timestamp, no_extensions = b"\x00", b"\x00", b"\x00\x00"
        kind = b"\x00\x00" if issuer_key_hash is None else b"\x00\x01" + issuer_key_hash  # x509_entry, precert_entry
        signed = b"".join((version, certificate_timestamp, timestamp, kind, vector(entry, 3), no_extensions))
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            raise TypeError(f"CT log {self.description!r} needs an EC or RSA key (RFC 6962 section 2.1.4)")
        # RFC 5246 section 7.4.1.4.1: hash sha256(4); signature rsa(1), ecdsa(3).
        algorithm = b"\x04\x01" if isinstance(self.key, rsa.RSAPrivateKey) else b"\x04\x03"
        signature = _signature(self.key, signed + b"\x00" * wrong_signature, hashes.SHA256())
        return version + self.log_id + timestamp + no_extensions + algorithm + vector(signature, 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CA:
    """A certificate authority: an intermediate of the public-like PKI, or an interceptor's own.

    `certificate` is in DER. `chain` is what a server sends after a leaf: empty for a root. `leaf_key` is the key of
    every leaf, if given. `key_identifier` goes into the leaves' AuthorityKeyIdentifier; None omits it. `public_profile`
    adds the policy of domain validation to leaves.
    """

    certificate: bytes
    key: PrivateKey
    subject: x509.Name
    key_identifier: bytes | None
    chain: tuple[bytes, ...] = ()
    signature_hash: Literal["sha256", "sha1"] = "sha256"
    leaf_key: PrivateKey | None = None
    public_profile: bool = False
    now: dt.datetime

    @property
    def spki_sha256(self) -> bytes:
        """SHA-256 of this CA's SubjectPublicKeyInfo: its pin, and the issuer key hash of RFC 6962."""
        return spki_sha256(self.key)

    @property
    def pem(self) -> bytes:
        """This CA's certificate in PEM."""
        return to_pem(self.certificate)

    def configure_trust(self, context: ssl.SSLContext) -> None:
        """Make a context trust this CA as a root."""
        context.load_verify_locations(cadata=self.certificate)

    def issue(  # noqa: PLR0913 - every option is a property of real leaves
        self,
        names: Sequence[str] = (),
        *,
        key: KeyKind | PrivateKey | None = None,
        not_before: dt.datetime | None = None,
        not_after: dt.datetime | None = None,
        subject_cn: str | None = None,
        subject: x509.Name | None = None,
        serial: int | None = None,
        copy_from: bytes | None = None,
        copies: Collection[CopiedField] = frozenset(CopiedField),
        aia: Sequence[str] = (),
        ocsp: Sequence[str] = (),
        sct_list: bytes | Callable[[bytes, bytes], Sequence[bytes]] | None = None,
    ) -> Issued:
        """Issue a leaf.

        `names` are DNS names and IP addresses (text) for SubjectAltName; the first becomes the common name unless
        `subject_cn` (empty: no subject at all) or `subject` is given. `key` is a kind to generate or a private key.
        `copy_from` is a genuine leaf in DER that supplies the `copies`; explicit arguments take precedence. `aia` and
        `ocsp` are URLs of caIssuers and OCSP (RFC 5280 section 4.2.2.1); by default there are none, so that clients
        stay on loopback. `sct_list` is the value of the SCT extension, or a function from (precertificate TBS in DER,
        issuer key hash) to serialized SCTs.

        Raises ValueError when the genuine leaf cannot be read.
        """
        genuine = None if copy_from is None else x509.load_der_x509_certificate(copy_from)
        san = _subject_alternative_name(names, genuine, copies)
        if subject is None:
            if subject_cn is None and genuine is not None and CopiedField.SUBJECT in copies:
                subject = genuine.subject
            else:
                subject = _leaf_subject(subject_cn, san)
        if genuine is not None and CopiedField.SERIAL in copies:
            serial = serial or genuine.serial_number
        if genuine is not None and CopiedField.DATES in copies:
            not_before = not_before or genuine.not_valid_before_utc
            not_after = not_after or genuine.not_valid_after_utc
        not_before = not_before or self.now - LEAF_AGE
        leaf_key = self._key_for_leaf(key)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(leaf_key.public_key())
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after or not_before + LEAF_LIFE)
        )
        builder = self._leaf_extensions(builder, leaf_key, aia=aia, ocsp=ocsp)
        if san:
            # RFC 5280 section 4.2.1.6: critical when the subject is empty.
            builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=not list(subject))
        if callable(sct_list):
            precertificate = self._sign(builder)
            sct_list = encode_sct_list(sct_list(der.children(precertificate)[0], self.spki_sha256))
        if sct_list is not None:
            builder = builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, sct_list), critical=False)
        return Issued(chain=(self._sign(builder), *self.chain), key=leaf_key)

    def subordinate(self, subject: x509.Name | str, *, key: KeyKind | PrivateKey = "ec") -> CA:
        """Issue an intermediate CA."""
        below = _authority(
            subject,
            key=key,
            issuer=self,
            not_before=self.now - _YEAR,
            not_after=self.now + 2 * _YEAR,
            now=self.now,
            path_length=0,
        )
        return dataclasses.replace(
            below, signature_hash=self.signature_hash, leaf_key=self.leaf_key, public_profile=self.public_profile
        )

    def ocsp_response(
        self, certificate: bytes, *, scts: Sequence[bytes] = (), status: OCSPCertStatus = OCSPCertStatus.GOOD
    ) -> bytes:
        """Return an OCSPResponse in DER (RFC 6960 section 4.2.1) for a certificate of this CA, for stapling.

        `scts` are serialized SCTs over `certificate`, for the single extension of RFC 6962 section 3.3.
        """
        responder = x509.load_der_x509_certificate(self.certificate)
        algorithm = None if isinstance(self.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        revoked = status is OCSPCertStatus.REVOKED
        response = (
            OCSPResponseBuilder()
            .add_response(
                cert=x509.load_der_x509_certificate(certificate),
                issuer=responder,
                algorithm=hashes.SHA256(),
                cert_status=status,
                this_update=self.now - dt.timedelta(days=1),
                next_update=self.now + dt.timedelta(days=6),
                revocation_time=self.now - dt.timedelta(days=2) if revoked else None,
                revocation_reason=None,
            )
            .responder_id(OCSPResponderEncoding.HASH, responder)
            .sign(self.key, algorithm)
            .public_bytes(serialization.Encoding.DER)
        )
        return _with_single_extension(response, scts, self.key, algorithm) if scts else response

    def _key_for_leaf(self, key: KeyKind | PrivateKey | None) -> PrivateKey:
        if key is None:
            return self.leaf_key or generate_key("ec")
        return generate_key(key) if isinstance(key, str) else key

    def _leaf_extensions(
        self, builder: x509.CertificateBuilder, key: PrivateKey, *, aia: Sequence[str], ocsp: Sequence[str]
    ) -> x509.CertificateBuilder:
        encipherment = isinstance(key, rsa.RSAPrivateKey)
        builder = (
            builder.add_extension(_key_usage("digital_signature", key_encipherment=encipherment), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if self.key_identifier is not None:
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier(self.key_identifier, None, None), critical=False
            )
        access = [(AuthorityInformationAccessOID.OCSP, url) for url in ocsp]
        access += [(AuthorityInformationAccessOID.CA_ISSUERS, url) for url in aia]
        if access:
            builder = builder.add_extension(
                x509.AuthorityInformationAccess(
                    [x509.AccessDescription(method, x509.UniformResourceIdentifier(url)) for method, url in access]
                ),
                critical=False,
            )
        if self.public_profile:
            builder = builder.add_extension(
                x509.CertificatePolicies([x509.PolicyInformation(DOMAIN_VALIDATED, None)]), critical=False
            )
        return builder

    def _sign(self, builder: x509.CertificateBuilder) -> bytes:
        return _sign(builder, self.key, signature_hash=self.signature_hash)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WrittenPKI:
    """The files that `PrivatePKI.write` writes: PEM roots and the CT log list."""

    roots: pathlib.Path
    ct_logs: pathlib.Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrivatePKI:
    """Two roots, a cross-sign, two intermediates and four CT logs; see the top of this file.

    `root_b_cross` is `root_b` cross-signed by `root_a`, in DER. `unknown_logs` are four more, in no list.
    """

    now: dt.datetime
    root_a: CA
    root_b: CA
    root_b_cross: bytes
    intermediate_ec: CA
    intermediate_rsa: CA
    ct_logs: tuple[CTLog, ...]
    unknown_logs: tuple[CTLog, ...]

    @classmethod
    def create(cls, now: dt.datetime | None = None) -> PrivatePKI:
        """Make a PKI that is in the middle of its life at `now` (aware; default: this moment), in half a second."""
        now = (now or dt.datetime.now(dt.UTC)).replace(microsecond=0)
        age, life = now - 8 * _YEAR, now + 12 * _YEAR
        organization = "Exemplar Trust Services"
        root = functools.partial(_authority, not_before=age, not_after=life, now=now)
        root_a = root(distinguished_name("Exemplar Root R1", organization, "US"), key="rsa")
        root_b = root(distinguished_name("Exemplar Root X2", organization, "US"), key="ec384")
        cross = root(root_b.subject, key=root_b.key, issuer=root_a)
        intermediate = functools.partial(
            _authority, not_before=now - 2 * _YEAR, not_after=now + 3 * _YEAR, now=now, path_length=0
        )
        intermediate_ec = intermediate(
            distinguished_name("Exemplar ECDSA Issuing CA E5", organization, "US"), key="ec", issuer=root_b
        )
        intermediate_rsa = intermediate(
            distinguished_name("Exemplar RSA Issuing CA R11", organization, "US"), key="rsa", issuer=root_a
        )
        return cls(
            now=now,
            root_a=root_a,
            root_b=root_b,
            root_b_cross=cross.certificate,
            intermediate_ec=dataclasses.replace(intermediate_ec, public_profile=True),
            intermediate_rsa=dataclasses.replace(intermediate_rsa, public_profile=True),
            ct_logs=(
                _log("Alder", "Arbor Logs", "ec"),
                _log("Basalt", "Bedrock Transparency", "ec"),
                _log("Cirrus", "Cloudbank CT", "ec"),
                _log("Delta", "Driftwood Observatory", "rsa"),
            ),
            unknown_logs=tuple(_log(name, "Nobody Knows", "ec") for name in ("Ember", "Fjord", "Glacier", "Harbour")),
        )

    def issue(  # noqa: PLR0913 - every option is a property of real leaves
        self,
        names: Sequence[str],
        *,
        key: KeyKind | PrivateKey = "ec",
        intermediate: CA | None = None,
        not_before: dt.datetime | None = None,
        not_after: dt.datetime | None = None,
        scts: int = 2,
        subject_cn: str | None = None,
        bad_sct_signature: bool = False,
        foreign_sct: bool = False,
        cross_signed: bool = False,
        aia: Sequence[str] = (),
        ocsp: Sequence[str] = (),
    ) -> Issued:
        """Issue a leaf as a public CA does, with `scts` embedded SCTs of as many logs (at most four; 0: no extension).

        `names` are DNS names and IP addresses as text; `intermediate` defaults to the one for the kind of key.
        `bad_sct_signature` spoils every SCT's signature; `foreign_sct` takes the SCTs from logs in no list.
        `cross_signed` also presents root B signed by root A. The other arguments are those of `CA.issue`.

        Raises ValueError for more SCTs than there are logs.
        """
        if scts > len(self.ct_logs):
            raise ValueError(
                f"{scts} SCTs were requested, but there are {len(self.ct_logs)} test CT logs; request fewer"
            )
        leaf_key = generate_key(key) if isinstance(key, str) else key
        if intermediate is None:
            intermediate = self.intermediate_rsa if isinstance(leaf_key, rsa.RSAPrivateKey) else self.intermediate_ec
        logged_at = min((not_before or self.now - LEAF_AGE) + SCT_DELAY, self.now)
        logs = (self.unknown_logs if foreign_sct else self.ct_logs)[:scts]

        def sign_scts(tbs: bytes, issuer_key_hash: bytes) -> list[bytes]:
            return [log.sct(tbs, issuer_key_hash, at=logged_at, wrong_signature=bad_sct_signature) for log in logs]

        issued = intermediate.issue(
            names,
            key=leaf_key,
            not_before=not_before,
            not_after=not_after,
            subject_cn=subject_cn,
            aia=aia,
            ocsp=ocsp,
            sct_list=sign_scts if scts else None,
        )
        return issued.with_chain(*issued.chain, self.root_b_cross) if cross_signed else issued

    def scts_of(self, certificate: bytes, count: int = 2, *, at: dt.datetime | None = None) -> list[bytes]:
        """Sign SCTs over a certificate in DER, for `encode_tls_scts` and `CA.ocsp_response`, by `count` (up to 4) logs.

        `at` is their time (default: now).
        """
        return [log.sct(certificate, None, at=at or self.now) for log in self.ct_logs[:count]]

    def self_signed(self, names: Sequence[str], *, key: KeyKind | PrivateKey = "ec") -> Issued:
        """Make a self-signed certificate, as appliances and default server installations present it."""
        own_key = generate_key(key) if isinstance(key, str) else key
        holder = CA(
            certificate=b"",
            key=own_key,
            subject=_leaf_subject(None, _general_names(names)),
            key_identifier=None,
            now=self.now,
        )
        return holder.issue(names, key=own_key)

    def private_ca(  # noqa: PLR0913 - every option is a property of real interceptors
        self,
        subject: x509.Name | str = "Campus Filter CA",
        *,
        key: KeyKind | PrivateKey = "ec",
        copy_from: bytes | None = None,
        key_identifier: bytes | None = None,
        authority_key_identifier: bool = True,
        signature_hash: Literal["sha256", "sha1"] = "sha256",
        version: Literal[1, 3] = 3,
        one_leaf_key: bool = False,
        leaf_key_is_ca_key: bool = False,
        not_before: dt.datetime | None = None,
        not_after: dt.datetime | None = None,
    ) -> CA:
        """Make a private root CA: an interceptor's, a campus's, an appliance's.

        `subject` is a name or a common name. `copy_from` is a genuine CA certificate in DER, whose subject and key
        identifier are copied byte for byte. `authority_key_identifier=False` omits that extension from its leaves.
        `signature_hash="sha1"` (RSA keys only) and `version=1` make certificates that certificate builders refuse.
        `one_leaf_key` gives every leaf the same key, `leaf_key_is_ca_key` the CA's own.

        Raises ValueError for SHA-1 with a key that is not RSA.
        """
        if copy_from is not None:
            genuine = x509.load_der_x509_certificate(copy_from)
            subject = genuine.subject
            key_identifier = key_identifier or _key_identifier_of(genuine)
        ca = _authority(
            subject,
            key=key,
            not_before=not_before or self.now - _YEAR,
            not_after=not_after or self.now + 9 * _YEAR,
            now=self.now,
            key_identifier=key_identifier,
            signature_hash=signature_hash,
            version=version,
        )
        leaf_key = ca.key if leaf_key_is_ca_key else generate_key() if one_leaf_key else None
        return dataclasses.replace(
            ca, leaf_key=leaf_key, key_identifier=ca.key_identifier if authority_key_identifier else None
        )

    def configure_trust(self, context: ssl.SSLContext) -> None:
        """Make a context trust both roots."""
        for root in (self.root_a, self.root_b):
            root.configure_trust(context)

    def roots_pem(self, *roots: CA) -> bytes:
        """Return PEM of `roots` (default: both roots), a client's public roots."""
        return b"".join(root.pem for root in roots or (self.root_a, self.root_b))

    def ct_log_list_json(self) -> bytes:
        """Describe the CT logs in Google's log list v3 (https://www.gstatic.com/ct/log_list/v3/log_list_schema.json)."""
        operators = [
            {
                "name": log.operator,
                "email": ["ct@example.com"],
                "logs": [
                    {
                        "description": f"{log.operator} '{log.description}'",
                        "log_id": base64.b64encode(log.log_id).decode(),
                        "key": base64.b64encode(log.public_key_der).decode(),
                        "url": log.url,
                        "mmd": 86400,  # maximum merge delay in seconds; all known logs have a day
                        "state": {"usable": {"timestamp": _rfc3339(self.now - 8 * _YEAR)}},
                        "temporal_interval": {
                            "start_inclusive": _rfc3339(self.now - 8 * _YEAR),
                            "end_exclusive": _rfc3339(self.now + 12 * _YEAR),
                        },
                    }
                ],
                "tiled_logs": [],
            }
            for log in self.ct_logs
        ]
        listing = {"version": "1.0", "log_list_timestamp": _rfc3339(self.now), "operators": operators}
        return json.dumps(listing, indent=2).encode()

    def write(self, directory: pathlib.Path) -> WrittenPKI:
        """Write `roots.pem` and `ct_logs.json` into an existing `directory`. Raises OSError when that fails."""
        written = WrittenPKI(roots=directory / "roots.pem", ct_logs=directory / "ct_logs.json")
        written.roots.write_bytes(self.roots_pem())
        written.ct_logs.write_bytes(self.ct_log_list_json())
        return written


def to_pem(certificate: bytes) -> bytes:
    """Return PEM of DER that need not be valid (RFC 7468 section 5)."""
    text = base64.b64encode(certificate).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""]).encode()


def spki_sha256(key: PrivateKey) -> bytes:
    """Return SHA-256 of the SubjectPublicKeyInfo of a private key."""
    return hashlib.sha256(_spki(key)).digest()


def encode_sct_list(scts: Sequence[bytes]) -> bytes:
    """Return the value of the SCT extension: serialized SCTs in an OCTET STRING (RFC 6962 section 3.3)."""
    return der.encode(der.OCTET_STRING, encode_tls_scts(scts))


def encode_tls_scts(scts: Sequence[bytes]) -> bytes:
    """Return the data of the TLS extension signed_certificate_timestamp (RFC 6962 section 3.3.1)."""
    return vector(b"".join(vector(sct, 2) for sct in scts), 2)


def sct_list_of(certificate: bytes) -> bytes | None:
    """Return the value of a certificate's SCT extension in DER, None without one."""
    extensions = x509.load_der_x509_certificate(certificate).extensions
    try:
        value = extensions.get_extension_for_oid(SCT_LIST).value
    except x509.ExtensionNotFound:
        return None
    return value.public_bytes()


def _authority(  # noqa: PLR0913 - what makes one CA different from another
    subject: x509.Name | str,
    *,
    key: KeyKind | PrivateKey,
    not_before: dt.datetime,
    not_after: dt.datetime,
    now: dt.datetime,
    issuer: CA | None = None,
    path_length: int | None = None,
    key_identifier: bytes | None = None,
    signature_hash: Literal["sha256", "sha1"] = "sha256",
    version: Literal[1, 3] = 3,
) -> CA:
    """Make a CA certificate: self-signed without `issuer`, else signed by it and sent along in the chain."""
    ca_key = generate_key(key) if isinstance(key, str) else key
    if signature_hash == "sha1" and not isinstance(ca_key, rsa.RSAPrivateKey):
        raise ValueError('SHA-1 certificates need an RSA key; pass key="rsa"')
    name = distinguished_name(subject) if isinstance(subject, str) else subject
    identifier = key_identifier or x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()).digest
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.subject)
        .public_key(ca_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(identifier), critical=False)
    )
    if issuer is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        if issuer.key_identifier is not None:
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None), critical=False
            )
    signer = ca_key if issuer is None else issuer.key
    hash_name = signature_hash if issuer is None else issuer.signature_hash
    certificate = _sign(builder, signer, signature_hash=hash_name, version=version)
    return CA(
        certificate=certificate,
        key=ca_key,
        subject=name,
        key_identifier=identifier if version != 1 else None,
        chain=() if issuer is None else (certificate, *issuer.chain),
        signature_hash=signature_hash,
        now=now,
    )


def _sign(
    builder: x509.CertificateBuilder,
    key: PrivateKey,
    *,
    signature_hash: Literal["sha256", "sha1"] = "sha256",
    version: Literal[1, 3] = 3,
) -> bytes:
    """Sign a certificate; rewrite it and sign again where the builder refuses the algorithm or version."""
    algorithm: hashes.SHA256 | hashes.SHA384 | None = None  # Ed25519 and ML-DSA do their own hashing
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256:  # noqa: PLR2004 - bits of P-256
        algorithm = hashes.SHA384()
    elif isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        algorithm = hashes.SHA256()
    certificate = builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)
    if signature_hash == "sha256" and version == 3:  # noqa: PLR2004 - X.509 version 3
        return certificate
    tbs, signature_algorithm, _ = der.children(certificate)
    fields = der.children(tbs)
    if signature_hash == "sha1":
        fields = [_ALGORITHM_SHA1_RSA if field == signature_algorithm else field for field in fields]
        signature_algorithm = _ALGORITHM_SHA1_RSA
    if version == 1:
        fields = [field for field in fields if field[0] not in {_EXPLICIT_VERSION, _EXPLICIT_EXTENSIONS}]
    tbs = der.encode(der.SEQUENCE, *fields)
    signature = _signature(key, tbs, hashes.SHA1() if signature_hash == "sha1" else algorithm)  # noqa: S303 - on purpose
    return der.encode(der.SEQUENCE, tbs, signature_algorithm, der.encode(der.BIT_STRING, b"\x00", signature))


def _signature(key: PrivateKey, data: bytes, algorithm: hashes.HashAlgorithm | None) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), algorithm or hashes.SHA256())
    return key.sign(data, ec.ECDSA(algorithm or hashes.SHA256()))


def _with_single_extension(
    response: bytes, scts: Sequence[bytes], key: PrivateKey, algorithm: hashes.HashAlgorithm | None
) -> bytes:
    """Put SCTs into the one answer of an OCSP response and sign it again: the builder lacks single extensions."""
    status, response_bytes = der.children(response)
    kind, basic = der.children(der.children(response_bytes)[0])
    data, signature_algorithm, _ = der.children(der.children(basic)[0])
    *before, singles = der.children(data)
    extension = der.encode(der.SEQUENCE, OCSP_SCT_LIST, der.encode(der.OCTET_STRING, encode_sct_list(scts)))
    extensions = der.encode(_EXPLICIT_SINGLE_EXTENSIONS, der.encode(der.SEQUENCE, extension))
    single = der.encode(der.SEQUENCE, *der.children(der.children(singles)[0]), extensions)
    data = der.encode(der.SEQUENCE, *before, der.encode(der.SEQUENCE, single))
    signature = der.encode(der.BIT_STRING, b"\x00", _signature(key, data, algorithm))
    basic = der.encode(der.OCTET_STRING, der.encode(der.SEQUENCE, data, signature_algorithm, signature))
    response_bytes = der.encode(_EXPLICIT_VERSION, der.encode(der.SEQUENCE, kind, basic))
    return der.encode(der.SEQUENCE, status, response_bytes)


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    general: list[x509.GeneralName] = []
    for name in names:
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    return general


def _subject_alternative_name(
    names: Sequence[str], genuine: x509.Certificate | None, copies: Collection[CopiedField]
) -> list[x509.GeneralName]:
    if names or genuine is None or CopiedField.NAMES not in copies:
        return _general_names(names)
    try:
        return list(genuine.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _leaf_subject(common_name: str | None, san: Sequence[x509.GeneralName]) -> x509.Name:
    """Return a subject with the given common name, else the first name that fits, else empty, as public CAs do."""
    if common_name is None:
        candidates = [str(name.value) for name in san if isinstance(name, x509.DNSName | x509.IPAddress)]
        common_name = next((name for name in candidates if len(name) <= MAXIMUM_COMMON_NAME), "")
    return distinguished_name(common_name) if common_name else x509.Name([])


def _key_identifier_of(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def _key_usage(*usages: str, key_encipherment: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="digital_signature" in usages,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign="key_cert_sign" in usages,
        crl_sign="crl_sign" in usages,
        encipher_only=False,
        decipher_only=False,
    )


def _log(description: str, operator: str, key: KeyKind) -> CTLog:
    # .example never resolves (RFC 2606), so nothing is fetched from a test log.
    return CTLog(
        description=description,
        operator=operator,
        url=f"https://{description.lower()}.ct.example/",
        key=generate_key(key),
    )


def _spki(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _rfc3339(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
