"""Reads the certificates of a PKCS #12 file (RFC 7292), and nothing else of it: private keys stay encrypted.

Room: trust. Pure.

Why not `cryptography`: it decrypts the private keys too, with iteration counts that the file chooses, up to 2**31, some
of them inside what is encrypted. Here every count is read before it is spent. The integrity check (MAC) is not made:
a certificate is assessed by who signed it, whatever file it comes in.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from detector.errors import ChainError

from . import der

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm

ITERATIONS_MAX: Final = 1_000_000
"""Iterations of key derivation for one file, about a second. OpenSSL writes 2048, Windows 2000, Java 10000, Firefox
600000."""
PARTS_MAX: Final = 16
"""Parts of a file that are read; usual ones have two, for certificates and for keys."""
BAGS_MAX: Final = 256
"""Entries of a part that are read: twice as many as a file may have certificates."""
SALT_BYTES_MAX: Final = 1024
"""Largest salt; usual ones have 8 to 20 bytes. It is hashed once for each derived key."""

_DATA: Final = "1.2.840.113549.1.7.1"
_ENCRYPTED_DATA: Final = "1.2.840.113549.1.7.6"
_CERTIFICATE_BAG: Final = "1.2.840.113549.1.12.10.1.3"
_X509: Final = "1.2.840.113549.1.9.22.1"
_PBES2: Final = "1.2.840.113549.1.5.13"
_PBKDF2: Final = "1.2.840.113549.1.5.12"
_SHA1_TRIPLE_DES: Final = "1.2.840.113549.1.12.1.3"
_HASHES: Final = {
    "1.2.840.113549.2.7": "sha1",
    "1.2.840.113549.2.9": "sha256",
    "1.2.840.113549.2.10": "sha384",
    "1.2.840.113549.2.11": "sha512",
}
"""Pseudorandom functions of PBKDF2 (RFC 8018 appendix B.1.2): HMAC with these hashes."""
_CIPHERS: Final[dict[str, tuple[type[AES | TripleDES], int]]] = {
    "2.16.840.1.101.3.4.1.2": (AES, 16),
    "2.16.840.1.101.3.4.1.22": (AES, 24),
    "2.16.840.1.101.3.4.1.42": (AES, 32),
    "1.2.840.113549.3.7": (TripleDES, 24),
}
"""Ciphers in CBC mode, with the length of their keys in bytes."""
_TAG_CONTENT, _TAG_ENCRYPTED = 0xA0, 0x80
_SHA1_BLOCK: Final = 64
"""Bytes that SHA-1 takes at once: `v` in RFC 7292 appendix B.2."""
_FOR_KEY, _FOR_IV = 1, 2
"""What is derived (RFC 7292 appendix B.3)."""

_CONVERT: Final = "Convert it: openssl pkcs12 -legacy -in FILE -nokeys -out chain.pem"


def certificates(data: bytes, password: str = "") -> tuple[bytes, ...]:
    """The certificates in a file, in its order. Raises `ChainError` where it is damaged or the password is wrong."""
    try:
        return tuple(_Reader(password).certificates(data))
    except ChainError:
        raise
    except ValueError:  # DERError is one, and so is too few elements
        raise ChainError("This PKCS #12 file is damaged or cut off.", advice="Export it again.") from None


class _Algorithm(NamedTuple):
    """How a part is encrypted: the cipher with the key and the initialization vector."""

    cipher: BlockCipherAlgorithm
    iv: bytes


class _Reader:
    def __init__(self, password: str) -> None:
        self._password = password
        self._iterations_left = ITERATIONS_MAX

    def certificates(self, data: bytes) -> Iterator[bytes]:
        _, authenticated, *_ = der.children(data, der.expect(data, 0, len(data), der.SEQUENCE))
        kind, content = _content_info(data, authenticated)
        if kind != _DATA:
            raise der.DERError("signed with a key, not a password")
        parts = _string(data, content)
        for number, part in enumerate(der.children(parts, der.expect(parts, 0, len(parts), der.SEQUENCE))):
            if number >= PARTS_MAX:
                raise der.LimitError("too many parts")
            kind, content = _content_info(parts, part)
            if kind == _DATA:
                yield from _certificates(_string(parts, content))
            elif kind == _ENCRYPTED_DATA:
                yield from self._decrypted(parts, content)

    def _decrypted(self, data: bytes, content: der.Element) -> tuple[bytes, ...]:
        """The certificates of EncryptedData (RFC 5652 section 8)."""
        _, info, *_ = der.children(data, der.expect(data, content.content, content.end, der.SEQUENCE))
        _, algorithm, encrypted = der.children(data, info)
        if encrypted.tag != _TAG_ENCRYPTED:
            raise der.DERError("encrypted content in pieces")
        kind, parameters = der.children(data, algorithm)
        name = der.oid(data, kind)
        for password in (self._password,) if self._password or name == _PBES2 else ("", None):
            cipher, iv = self._algorithm(data, name, parameters, password)
            try:
                decryptor = Cipher(cipher, CBC(iv)).decryptor()
                padded = decryptor.update(der.value(data, encrypted)) + decryptor.finalize()
                unpadder = padding.PKCS7(cipher.block_size).unpadder()
                return tuple(_certificates(unpadder.update(padded) + unpadder.finalize()))
            except ValueError:  # DERError is one: what a wrong password gives is no padding, or no DER
                continue
        if self._password:
            raise ChainError("The password of this PKCS #12 file is another one.", advice="Give its password.")
        raise ChainError(
            "This PKCS #12 file is encrypted with a password.",
            advice="Name a file with the password (--password-file), or export the certificates without the key.",
        )

    def _algorithm(self, data: bytes, name: str, parameters: der.Element, password: str | None) -> _Algorithm:
        """The algorithm of a part. An empty password has two encodings in the older one; None is the shorter."""
        if name == _PBES2:
            return self._pbes2(data, parameters)
        if name != _SHA1_TRIPLE_DES:
            raise ChainError(f"This PKCS #12 file uses an encryption that is not read here ({name}).", advice=_CONVERT)
        salt, iterations = der.children(data, parameters)
        # RFC 7292 appendix B.1: the password as BMPString, with its terminator
        text = b"" if password is None else (password + "\0").encode("utf-16-be")
        count = self._spend(_integer(data, iterations), 3)
        salted = _bounded(der.value(data, salt))
        key = _derive(_FOR_KEY, text, salted, count, 24)
        return _Algorithm(TripleDES(key), _derive(_FOR_IV, text, salted, count, 8))

    def _pbes2(self, data: bytes, parameters: der.Element) -> _Algorithm:
        """RFC 8018 section 6.2, with PBKDF2 (section 5.2)."""
        derivation, encryption = (tuple(der.children(data, part)) for part in der.children(data, parameters))
        cipher = _CIPHERS.get(der.oid(data, encryption[0]))
        if der.oid(data, derivation[0]) != _PBKDF2 or cipher is None:
            raise ChainError("This PKCS #12 file uses an encryption that is not read here.", advice=_CONVERT)
        salt, iterations, *more = der.children(data, derivation[1])
        digest: str | None = "sha1"
        for item in more:
            if item.tag == der.SEQUENCE:
                digest = _HASHES.get(der.oid(data, der.element(data, item.content, item.end)))
        if digest is None:
            raise ChainError("This PKCS #12 file uses a hash that is not read here.", advice=_CONVERT)
        length = cipher[1]
        count = self._spend(
            _integer(data, iterations), -(-length // hashlib.new(digest, usedforsecurity=False).digest_size)
        )
        key = hashlib.pbkdf2_hmac(digest, self._password.encode(), _bounded(der.value(data, salt)), count, length)
        return _Algorithm(cipher[0](key), der.value(data, encryption[1]))

    def _spend(self, iterations: int, rounds: int) -> int:
        """Count iterations that a part of the file asks for. Raises `ChainError` past the limit."""
        self._iterations_left -= iterations * rounds
        if iterations < 1 or self._iterations_left < 0:
            raise ChainError(
                f"This PKCS #12 file asks for {iterations} iterations of key derivation, which is too many.",
                advice="Export it again with fewer.",
            )
        return iterations


def _content_info(data: bytes, item: der.Element) -> tuple[str, der.Element]:
    """The type of a ContentInfo, and its explicitly tagged content (RFC 5652 section 3)."""
    kind, content = der.children(data, item)
    if content.tag != _TAG_CONTENT:
        raise der.DERError("content")
    return der.oid(data, kind), content


def _string(data: bytes, wrapper: der.Element) -> bytes:
    return der.value(data, der.expect(data, wrapper.content, wrapper.end, der.OCTET_STRING))


def _certificates(contents: bytes) -> Iterator[bytes]:
    """The X.509 certificates of SafeContents (RFC 7292 section 4.2)."""
    bags = der.children(contents, der.expect(contents, 0, len(contents), der.SEQUENCE))
    for number, bag in enumerate(bags):
        if number >= BAGS_MAX:
            raise der.LimitError("too many bags")
        kind, wrapper, *_ = der.children(contents, bag)
        if der.oid(contents, kind) == _CERTIFICATE_BAG:
            form, certificate = der.children(contents, der.expect(contents, wrapper.content, wrapper.end, der.SEQUENCE))
            if der.oid(contents, form) == _X509:
                yield _string(contents, certificate)


def _integer(data: bytes, item: der.Element) -> int:
    if item.tag != der.INTEGER or item.end - item.content > 8:  # noqa: PLR2004 - bytes, far above any count
        raise der.DERError("iterations")
    return int.from_bytes(der.value(data, item), "big", signed=True)


def _bounded(salt: bytes) -> bytes:
    if not 0 < len(salt) <= SALT_BYTES_MAX:
        raise der.LimitError("salt")
    return salt


def _derive(purpose: int, password: bytes, salt: bytes, iterations: int, length: int) -> bytes:
    """The key derivation of RFC 7292 appendix B.2 with SHA-1."""
    lengths = ((part, -(-len(part) // _SHA1_BLOCK) * _SHA1_BLOCK) for part in (salt, password) if part)
    block = b"".join((part * (length // len(part) + 1))[:length] for part, length in lengths)
    derived = b""
    while len(derived) < length:
        digest = bytes([purpose]) * _SHA1_BLOCK + block
        for _ in range(iterations):
            digest = hashlib.sha1(digest, usedforsecurity=False).digest()
        derived += digest
        increment = int.from_bytes((digest * 4)[:_SHA1_BLOCK], "big") + 1
        block = b"".join(
            ((int.from_bytes(block[at : at + _SHA1_BLOCK], "big") + increment) % (1 << 8 * _SHA1_BLOCK)).to_bytes(
                _SHA1_BLOCK, "big"
            )
            for at in range(0, len(block), _SHA1_BLOCK)
        )
    return derived[:length]
