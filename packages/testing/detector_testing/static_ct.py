"""A static Certificate Transparency log (https://c2sp.org/static-ct-api), honest by default, and what goes wrong.

Room: testing. Pure but for `write`. Its tree is calculated as RFC 6962 section 2.1 defines it, by recursion, so that it
is another calculation than that of the program under test.

    log = StaticLog.create("Elm")
    issued = log.issue(pki.intermediate_ec, ["exam.example.edu"])  # its precertificate is entry 0
    log.add(issued.leaf, issued.chain[1:])  # entry 1
    log.write(folder)  # or serve_files(log.files("/")), or serve_origin(..., handler=log.answer)
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import gzip
import hashlib
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from . import der
from .origin import Response
from .pki import CA, CTLog, Issued, PrivateKey, generate_key
from .tls_wire import vector

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Sequence

    from .origin import Request

WIDTH: Final = 256
"""Hashes and entries of a whole tile."""
_POISON: Final = bytes.fromhex("3013060a2b06010401d6790204030101ff04020500")
"""The critical extension of precertificates (RFC 6962 section 3.1)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogEntry:
    """An entry: the TimestampedEntry in bytes, and what a data tile has after it."""

    timestamped: bytes
    rest: bytes

    @property
    def leaf_hash(self) -> bytes:
        """The hash of the entry's MerkleTreeLeaf."""
        return hashlib.sha256(b"\x00\x00\x00" + self.timestamped).digest()


@dataclasses.dataclass(kw_only=True)
class StaticLog:
    """A log: `ct_log` has its key, `origin` is the first line of its checkpoints, `now` the time of everything.

    `compress` serves data tiles with gzip. What goes wrong: `wrong_signature` signs other checkpoints than those
    served, `damaged` are paths of files that are served with a byte changed, `missing` those that are not served.
    """

    ct_log: CTLog
    origin: str
    now: dt.datetime
    entries: list[LogEntry] = dataclasses.field(default_factory=list)
    issuers: dict[str, bytes] = dataclasses.field(default_factory=dict)
    compress: bool = False
    wrong_signature: bool = False
    damaged: set[str] = dataclasses.field(default_factory=set)
    missing: set[str] = dataclasses.field(default_factory=set)

    @classmethod
    def create(cls, name: str = "Elm", *, now: dt.datetime | None = None, **options: Any) -> StaticLog:  # noqa: ANN401 - the fields of the class
        """Make a log without entries."""
        origin = f"{name.lower()}.ct.example/2026"
        log = CTLog(description=name, operator=f"{name} Logs", url=f"https://{origin}/", key=generate_key("ec"))
        return cls(ct_log=log, origin=origin, now=now or dt.datetime.now(dt.UTC).replace(microsecond=0), **options)

    @property
    def size(self) -> int:
        """How many entries it has."""
        return len(self.entries)

    @property
    def key_pem(self) -> bytes:
        """The log's public key in PEM."""
        return self.ct_log.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def add(self, certificate: bytes, issuers: Sequence[bytes] = (), *, numbered: int | None = None) -> int:
        """Add a certificate (DER, or any bytes) with the certificates above it; returns its index.

        `numbered` is the index that the entry says it has, if it lies.
        """
        return self._add(b"\x00\x00" + vector(certificate, 3), b"", issuers, numbered)

    def add_precertificate(
        self, tbs: bytes, issuer_key_hash: bytes, precertificate: bytes, issuers: Sequence[bytes] = ()
    ) -> int:
        """Add a precertificate: the TBSCertificate that is signed, and what was submitted; returns its index."""
        return self._add(b"\x00\x01" + issuer_key_hash + vector(tbs, 3), vector(precertificate, 3), issuers, None)

    def issue(self, ca: CA, names: Sequence[str], **options: Any) -> Issued:  # noqa: ANN401 - those of `CA.issue`
        """Issue a certificate with `CA.issue` whose precertificate is in this log, and its SCT in the certificate."""

        def submit(tbs: bytes, issuer_key_hash: bytes) -> list[bytes]:
            self.add_precertificate(tbs, issuer_key_hash, _precertificate(tbs, ca), ca.chain)
            return [self.ct_log.sct(tbs, issuer_key_hash, at=self.now)]

        return ca.issue(names, sct_list=submit, **options)

    def fill(self, count: int, body: Callable[[int], bytes]) -> None:
        """Add `count` entries, each the bytes that `body` makes of its index."""
        for _ in range(count):
            self.add(body(self.size))

    def _add(self, kind_and_body: bytes, submitted: bytes, issuers: Sequence[bytes], numbered: int | None) -> int:
        index = self.size
        number = (index if numbered is None else numbered).to_bytes(5, "big")
        extensions = vector(b"\x00" + vector(number, 2), 2)
        timestamp = int(self.now.timestamp() * 1000).to_bytes(8, "big")
        fingerprints = b"".join(hashlib.sha256(issuer).digest() for issuer in issuers)
        self.issuers.update((hashlib.sha256(issuer).hexdigest(), issuer) for issuer in issuers)
        self.entries.append(
            LogEntry(timestamped=timestamp + kind_and_body + extensions, rest=submitted + vector(fingerprints, 2))
        )
        return index

    def fork(self, size: int) -> StaticLog:
        """Return another log with the same key and the first `size` entries: a smaller tree, or another history."""
        return dataclasses.replace(
            self, entries=self.entries[:size], damaged=set(), missing=set(), issuers=dict(self.issuers)
        )

    def root(self) -> bytes:
        """The root of the tree."""
        return _tree_hash([entry.leaf_hash for entry in self.entries])

    def checkpoint(self) -> bytes:
        """The signed tree head."""
        root = self.root()
        text = f"{self.origin}\n{self.size}\n{base64.b64encode(root).decode()}\n"
        timestamp = int(self.now.timestamp() * 1000).to_bytes(8, "big")
        signed = b"\x00\x01" + timestamp + self.size.to_bytes(8, "big") + root + b"\x00" * self.wrong_signature
        key_id = hashlib.sha256(self.origin.encode() + b"\n\x05" + self.ct_log.log_id).digest()[:4]
        body = key_id + timestamp + _digitally_signed(self.ct_log.key, signed)
        return f"{text}\n— {self.origin} {base64.b64encode(body).decode()}\n".encode()

    def files(self, prefix: str = "") -> dict[str, bytes]:
        """Every file of the log by its path: the checkpoint, tiles of the present size, and issuers."""
        files = {"checkpoint": self.checkpoint()}
        files.update((f"issuer/{name}", issuer) for name, issuer in self.issuers.items())
        for first in range(0, self.size, WIDTH):
            part = self.entries[first : first + WIDTH]
            data = b"".join(entry.timestamped + entry.rest for entry in part)
            files[f"tile/data/{_number(first // WIDTH, len(part))}"] = gzip.compress(data) if self.compress else data
        level, row = 0, [entry.leaf_hash for entry in self.entries]
        while row:
            groups = [row[first : first + WIDTH] for first in range(0, len(row), WIDTH)]
            files.update(
                (f"tile/{level}/{_number(index, len(group))}", b"".join(group)) for index, group in enumerate(groups)
            )
            level, row = level + 1, [_tree_hash(group) for group in groups if len(group) == WIDTH]
        for path in self.damaged:
            files[path] = files[path][:-1] + bytes((files[path][-1] ^ 1,))
        return {prefix + path: data for path, data in files.items() if path not in self.missing}

    def write(self, folder: pathlib.Path) -> pathlib.Path:
        """Write the files below `folder`, where earlier ones stay, the checkpoint last; returns `folder`.

        Raises OSError when that fails.
        """
        files = self.files()
        for path in sorted(files, key=lambda path: path == "checkpoint"):
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(files[path])
        for path in self.missing:
            (folder / path).unlink(missing_ok=True)
        return folder

    def answer(self, request: Request) -> Response:
        """Answer a request as an HTTP server of this log, for `serve_origin`."""
        body = self.files("/").get(request.target)
        if body is None:
            return Response(status=404)
        return Response(headers=(("Content-Type", "application/octet-stream"),), body=body)

    def listing(self, url: str) -> dict[str, Any]:
        """Describe the log, whose files are at `url`, as one of `tiled_logs` in Google's log list v3."""
        return {
            "description": self.ct_log.description,
            "log_id": base64.b64encode(self.ct_log.log_id).decode(),
            "key": base64.b64encode(self.ct_log.public_key_der).decode(),
            "submission_url": self.ct_log.url,
            "monitoring_url": url,
            "mmd": 86400,
            "state": {"usable": {"timestamp": self.now.strftime("%Y-%m-%dT%H:%M:%SZ")}},
        }


def _number(index: int, width: int) -> str:
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return path if width == WIDTH else f"{path}.p/{width}"


def _tree_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1 over hashes of leaves."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _tree_hash(leaves[:left]) + _tree_hash(leaves[left:])).digest()


def _digitally_signed(key: PrivateKey, data: bytes) -> bytes:
    """Sign with SHA-256 (RFC 5246 section 4.7; RFC 6962 section 2.1.4 allows ECDSA and RSA)."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        raise TypeError("a log needs an EC or RSA key (RFC 6962 section 2.1.4)")
    if isinstance(key, rsa.RSAPrivateKey):
        return b"\x04\x01" + vector(key.sign(data, padding.PKCS1v15(), hashes.SHA256()), 2)
    return b"\x04\x03" + vector(key.sign(data, ec.ECDSA(hashes.SHA256())), 2)


def _precertificate(tbs: bytes, ca: CA) -> bytes:
    """What a CA submits for a TBSCertificate: the same with the poison, signed."""
    fields = der.children(tbs)
    extensions = der.children(der.children(fields[-1])[0])
    poisoned = der.encode(der.SEQUENCE, *fields[:-1], der.encode(0xA3, der.encode(der.SEQUENCE, *extensions, _POISON)))
    signature = _digitally_signed(ca.key, poisoned)[4:]
    return der.encode(der.SEQUENCE, poisoned, fields[2], der.encode(der.BIT_STRING, b"\x00", signature))
