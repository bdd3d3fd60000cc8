"""Pseudonyms of students and networks: keyed hashes, with a key that the collector never has.

Room: outbox. Pure but for reading, or creating, the one key file that is named.

A pseudonym is HMAC-SHA-256 (RFC 2104) over what it is of, the institution, the exam and the value, each preceded by its
length, so that no two lists of fields are the same message. The same student is the same hash within one exam of one
institution, and unrelated hashes everywhere else. A holder of the key can search for a student that they can name; with
the hashes alone nobody can try names, as they could with a plain hash.

The key belongs to the institution, whose clients share it: clients with different keys report one student as several.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.errors import InputError, KeyFileError
from detector.trust.key_files import create_key_file, read_key_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEY_BYTES: Final = 32
"""Length of a key in bytes: that of the hash (RFC 2104 section 3)."""
VALUE_BYTES_MAX: Final = 1024
"""Bytes of what a caller names a student or a network with; no directory has longer names."""
_DOMAIN: Final = b"tls-interception pseudonym v1"
_LENGTH_BYTES: Final = 8
_IPV4_NETWORK_BITS: Final = 24
"""The usual size of a local network. A larger one counts as several: those of one institution have its name anyway."""
_IPV6_NETWORK_BITS: Final = 48
"""At most what one site has (RFC 6177 section 2), so that the networks of one household are one."""


def load_key(path: str | Path) -> bytes:
    """Load a key: a private file of 32 bytes. Raises `KeyFileError`."""
    data = read_key_file(path, private=True)
    if len(data) != KEY_BYTES:
        raise KeyFileError(
            f"{path}: a key for pseudonyms has {KEY_BYTES} bytes, this file {len(data)}.",
            advice="Make one with `detector outbox keygen`, and give every client of the institution the same.",
        )
    return data


def create_key(path: str | Path) -> None:
    """Write a new key to a new file that only its owner can read. Raises `OutputError` where the file exists."""
    create_key_file(path, secrets.token_bytes(KEY_BYTES))


class Pseudonyms(NamedTuple):
    """Makes the pseudonyms of one exam of one institution."""

    key: bytes
    institution: str
    exam: str | None = None

    def of_student(self, student: str) -> str:
        """The pseudonym of a student, in hexadecimal. `student` is any name that is the same for one student.

        Raises `InputError`, without the name, where it is empty or too long.
        """
        return self._pseudonym("student", _bytes(student, "student"))

    def of_network(self, network: str) -> str:
        """The pseudonym of a network by the name that the caller gives it. Raises `InputError`."""
        return self._pseudonym("network", _bytes(network, "network"))

    def of_local_networks(self, networks: Mapping[str, str]) -> str | None:
        """The pseudonym of the network that this machine is in, None where it is in none.

        `networks` are source addresses or networks by family (`detector.probe.routes.local_networks`). The IPv4 network
        decides, because nearly every machine has one. Different networks with the same private addresses have the same
        pseudonym: then too few networks are counted, which accuses nobody.
        """
        for family, bits in (("ipv4", _IPV4_NETWORK_BITS), ("ipv6", _IPV6_NETWORK_BITS)):
            if (found := networks.get(family)) is not None:
                network = ipaddress.ip_network((found.partition("/")[0], bits), strict=False)
                return self._pseudonym("local network", str(network).encode())
        return None

    def _pseudonym(self, kind: str, value: bytes) -> str:
        fields = (_DOMAIN, kind.encode(), self.institution.encode(), (self.exam or "").encode(), value)
        message = b"".join(len(field).to_bytes(_LENGTH_BYTES, "big") + field for field in fields)
        return hmac.digest(self.key, message, "sha256").hex()


def _bytes(value: str, field: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    if not 0 < len(encoded) <= VALUE_BYTES_MAX:
        raise InputError(
            f"{field}: is empty or longer than {VALUE_BYTES_MAX} bytes.",
            advice="Give what your systems name it by, such as a number. Only a keyed hash of it is sent.",
        )
    return encoded
