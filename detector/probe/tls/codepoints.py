"""TLS code points and their registered names.

Room: probe. Pure data from the IANA registry "Transport Layer Security (TLS) Parameters" (RFC 8447), as of 2026-10.
Only values that can answer our ClientHello are listed; any other is reported by its number.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple


class ContentType(enum.IntEnum):
    """Record types (RFC 8446 section 5.1)."""

    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23


class HandshakeType(enum.IntEnum):
    """The handshake messages of either side (RFC 8446 section 4, RFC 5246 section 7.4, RFC 8879 section 4)."""

    HELLO_REQUEST = 0
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    NEW_SESSION_TICKET = 4
    ENCRYPTED_EXTENSIONS = 8
    CERTIFICATE = 11
    SERVER_KEY_EXCHANGE = 12
    CERTIFICATE_REQUEST = 13
    SERVER_HELLO_DONE = 14
    CERTIFICATE_VERIFY = 15
    CLIENT_KEY_EXCHANGE = 16
    FINISHED = 20
    CERTIFICATE_STATUS = 22
    COMPRESSED_CERTIFICATE = 25


class ExtensionType(enum.IntEnum):
    """Extensions this room reads or writes by name.

    RFC 8446 section 4.2, RFC 5077, RFC 5746, RFC 6066, RFC 6962, RFC 7301, RFC 7627, RFC 8422, RFC 8449, RFC 8879, RFC
    9001, RFC 9345, RFC 9849; application_settings (draft-vvv-tls-alps) and trust_anchors
    (draft-ietf-tls-trust-anchor-ids) are Chrome's.
    """

    SERVER_NAME = 0
    STATUS_REQUEST = 5
    SUPPORTED_GROUPS = 10
    EC_POINT_FORMATS = 11
    SIGNATURE_ALGORITHMS = 13
    ALPN = 16
    SIGNED_CERTIFICATE_TIMESTAMP = 18
    EXTENDED_MASTER_SECRET = 23
    COMPRESS_CERTIFICATE = 27
    RECORD_SIZE_LIMIT = 28
    DELEGATED_CREDENTIAL = 34
    SESSION_TICKET = 35
    SUPPORTED_VERSIONS = 43
    COOKIE = 44
    KEY_SHARE = 51
    QUIC_TRANSPORT_PARAMETERS = 57
    APPLICATION_SETTINGS = 17613
    TRUST_ANCHORS = 0xCA34
    ENCRYPTED_CLIENT_HELLO = 0xFE0D
    RENEGOTIATION_INFO = 0xFF01


TLS_1_2: Final = 0x0303
TLS_1_3: Final = 0x0304


def _table(text: str) -> dict[int, str]:
    """Parse pairs of a code point in hexadecimal and its name."""
    words = text.split()
    return {int(number, 16): name for number, name in zip(words[::2], words[1::2], strict=True)}


VERSIONS: Final = _table("""
    0300 SSLv3  0301 TLSv1  0302 TLSv1.1  0303 TLSv1.2  0304 TLSv1.3
""")
"""Protocol versions, named as `ssl.SSLSocket.version` names them."""

HELLO_RETRY_REQUEST_RANDOM: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The ServerHello random that marks a HelloRetryRequest: SHA-256 of that name (RFC 8446 section 4.1.3)."""

GROUPS: Final = _table("""
    0013 secp192r1  0015 secp224r1  0016 secp256k1  0017 secp256r1  0018 secp384r1  0019 secp521r1
    001a brainpoolP256r1  001b brainpoolP384r1  001c brainpoolP512r1  001d x25519  001e x448
    001f brainpoolP256r1tls13  0020 brainpoolP384r1tls13  0021 brainpoolP512r1tls13  0029 curveSM2  0100 ffdhe2048
    0101 ffdhe3072  0102 ffdhe4096  0103 ffdhe6144  0104 ffdhe8192  0200 MLKEM512  0201 MLKEM768  0202 MLKEM1024
    11eb SecP256r1MLKEM768  11ec X25519MLKEM768  11ed SecP384r1MLKEM1024  11ee curveSM2MLKEM768
""")
"""Key exchange groups ("TLS Supported Groups")."""

CIPHER_SUITES: Final = _table("""
    0004 TLS_RSA_WITH_RC4_128_MD5  0005 TLS_RSA_WITH_RC4_128_SHA  0007 TLS_RSA_WITH_IDEA_CBC_SHA
    0009 TLS_RSA_WITH_DES_CBC_SHA  000a TLS_RSA_WITH_3DES_EDE_CBC_SHA  0013 TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA
    0016 TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA  002f TLS_RSA_WITH_AES_128_CBC_SHA  0032 TLS_DHE_DSS_WITH_AES_128_CBC_SHA
    0033 TLS_DHE_RSA_WITH_AES_128_CBC_SHA  0035 TLS_RSA_WITH_AES_256_CBC_SHA  0038 TLS_DHE_DSS_WITH_AES_256_CBC_SHA
    0039 TLS_DHE_RSA_WITH_AES_256_CBC_SHA  003c TLS_RSA_WITH_AES_128_CBC_SHA256
    003d TLS_RSA_WITH_AES_256_CBC_SHA256  0040 TLS_DHE_DSS_WITH_AES_128_CBC_SHA256
    0041 TLS_RSA_WITH_CAMELLIA_128_CBC_SHA  0044 TLS_DHE_DSS_WITH_CAMELLIA_128_CBC_SHA
    0045 TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA  0067 TLS_DHE_RSA_WITH_AES_128_CBC_SHA256
    006a TLS_DHE_DSS_WITH_AES_256_CBC_SHA256  006b TLS_DHE_RSA_WITH_AES_256_CBC_SHA256
    0084 TLS_RSA_WITH_CAMELLIA_256_CBC_SHA  0087 TLS_DHE_DSS_WITH_CAMELLIA_256_CBC_SHA
    0088 TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA  0096 TLS_RSA_WITH_SEED_CBC_SHA  0099 TLS_DHE_DSS_WITH_SEED_CBC_SHA
    009a TLS_DHE_RSA_WITH_SEED_CBC_SHA  009c TLS_RSA_WITH_AES_128_GCM_SHA256  009d TLS_RSA_WITH_AES_256_GCM_SHA384
    009e TLS_DHE_RSA_WITH_AES_128_GCM_SHA256  009f TLS_DHE_RSA_WITH_AES_256_GCM_SHA384
    00a2 TLS_DHE_DSS_WITH_AES_128_GCM_SHA256  00a3 TLS_DHE_DSS_WITH_AES_256_GCM_SHA384
    00ba TLS_RSA_WITH_CAMELLIA_128_CBC_SHA256  00bd TLS_DHE_DSS_WITH_CAMELLIA_128_CBC_SHA256
    00be TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA256  00c0 TLS_RSA_WITH_CAMELLIA_256_CBC_SHA256
    00c3 TLS_DHE_DSS_WITH_CAMELLIA_256_CBC_SHA256  00c4 TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA256
    1301 TLS_AES_128_GCM_SHA256  1302 TLS_AES_256_GCM_SHA384  1303 TLS_CHACHA20_POLY1305_SHA256
    1304 TLS_AES_128_CCM_SHA256  1305 TLS_AES_128_CCM_8_SHA256  c007 TLS_ECDHE_ECDSA_WITH_RC4_128_SHA
    c008 TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA  c009 TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA
    c00a TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA  c011 TLS_ECDHE_RSA_WITH_RC4_128_SHA
    c012 TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA  c013 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
    c014 TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA  c023 TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256
    c024 TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384  c027 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256
    c028 TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384  c02b TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    c02c TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384  c02f TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    c030 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384  c050 TLS_RSA_WITH_ARIA_128_GCM_SHA256
    c051 TLS_RSA_WITH_ARIA_256_GCM_SHA384  c052 TLS_DHE_RSA_WITH_ARIA_128_GCM_SHA256
    c053 TLS_DHE_RSA_WITH_ARIA_256_GCM_SHA384  c056 TLS_DHE_DSS_WITH_ARIA_128_GCM_SHA256
    c057 TLS_DHE_DSS_WITH_ARIA_256_GCM_SHA384  c05c TLS_ECDHE_ECDSA_WITH_ARIA_128_GCM_SHA256
    c05d TLS_ECDHE_ECDSA_WITH_ARIA_256_GCM_SHA384  c060 TLS_ECDHE_RSA_WITH_ARIA_128_GCM_SHA256
    c061 TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384  c072 TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_CBC_SHA256
    c073 TLS_ECDHE_ECDSA_WITH_CAMELLIA_256_CBC_SHA384  c076 TLS_ECDHE_RSA_WITH_CAMELLIA_128_CBC_SHA256
    c077 TLS_ECDHE_RSA_WITH_CAMELLIA_256_CBC_SHA384  c09c TLS_RSA_WITH_AES_128_CCM  c09d TLS_RSA_WITH_AES_256_CCM
    c09e TLS_DHE_RSA_WITH_AES_128_CCM  c09f TLS_DHE_RSA_WITH_AES_256_CCM  c0a0 TLS_RSA_WITH_AES_128_CCM_8
    c0a1 TLS_RSA_WITH_AES_256_CCM_8  c0a2 TLS_DHE_RSA_WITH_AES_128_CCM_8  c0a3 TLS_DHE_RSA_WITH_AES_256_CCM_8
    c0ac TLS_ECDHE_ECDSA_WITH_AES_128_CCM  c0ad TLS_ECDHE_ECDSA_WITH_AES_256_CCM
    c0ae TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8  c0af TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8
    cca8 TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256  cca9 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    ccaa TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256
""")
"""Cipher suites by their registered (not OpenSSL's) names."""


class AEAD(enum.Enum):
    """The algorithms that protect records and authenticate them at once (RFC 8446 appendix B.4, RFC 5288, RFC 7905)."""

    AES_GCM = "aes-gcm"
    AES_CCM = "aes-ccm"
    CHACHA20_POLY1305 = "chacha20-poly1305"


class Tls13Suite(NamedTuple):
    """The parameters of a TLS 1.3 cipher suite (RFC 8446 appendix B.4)."""

    aead: AEAD
    key_bytes: int
    tag_bytes: int
    hash_name: str


TLS_1_3_SUITES: Final[dict[int, Tls13Suite]] = {
    0x1301: Tls13Suite(AEAD.AES_GCM, 16, 16, "sha256"),
    0x1302: Tls13Suite(AEAD.AES_GCM, 32, 16, "sha384"),
    0x1303: Tls13Suite(AEAD.CHACHA20_POLY1305, 32, 16, "sha256"),
    0x1304: Tls13Suite(AEAD.AES_CCM, 16, 16, "sha256"),
    0x1305: Tls13Suite(AEAD.AES_CCM, 16, 8, "sha256"),
}


class Tls12Suite(NamedTuple):
    """The parameters of a TLS 1.2 cipher suite that browsers offer (RFC 5246 appendix C, RFC 5288, RFC 5289, RFC 7905).

    `is_ecdhe` is false for RSA key exchange, `is_ecdsa` says whether an ECDSA key authenticates the server, else an RSA
    key does. `aead` is None for AES-CBC with HMAC-SHA1.
    """

    is_ecdhe: bool
    is_ecdsa: bool
    aead: AEAD | None
    key_bytes: int
    hash_name: str


TLS_1_2_SUITES: Final[dict[int, Tls12Suite]] = {
    0xC02B: Tls12Suite(is_ecdhe=True, is_ecdsa=True, aead=AEAD.AES_GCM, key_bytes=16, hash_name="sha256"),
    0xC02C: Tls12Suite(is_ecdhe=True, is_ecdsa=True, aead=AEAD.AES_GCM, key_bytes=32, hash_name="sha384"),
    0xC02F: Tls12Suite(is_ecdhe=True, is_ecdsa=False, aead=AEAD.AES_GCM, key_bytes=16, hash_name="sha256"),
    0xC030: Tls12Suite(is_ecdhe=True, is_ecdsa=False, aead=AEAD.AES_GCM, key_bytes=32, hash_name="sha384"),
    0xCCA8: Tls12Suite(is_ecdhe=True, is_ecdsa=False, aead=AEAD.CHACHA20_POLY1305, key_bytes=32, hash_name="sha256"),
    0xCCA9: Tls12Suite(is_ecdhe=True, is_ecdsa=True, aead=AEAD.CHACHA20_POLY1305, key_bytes=32, hash_name="sha256"),
    0xC009: Tls12Suite(is_ecdhe=True, is_ecdsa=True, aead=None, key_bytes=16, hash_name="sha256"),
    0xC00A: Tls12Suite(is_ecdhe=True, is_ecdsa=True, aead=None, key_bytes=32, hash_name="sha256"),
    0xC013: Tls12Suite(is_ecdhe=True, is_ecdsa=False, aead=None, key_bytes=16, hash_name="sha256"),
    0xC014: Tls12Suite(is_ecdhe=True, is_ecdsa=False, aead=None, key_bytes=32, hash_name="sha256"),
    0x009C: Tls12Suite(is_ecdhe=False, is_ecdsa=False, aead=AEAD.AES_GCM, key_bytes=16, hash_name="sha256"),
    0x009D: Tls12Suite(is_ecdhe=False, is_ecdsa=False, aead=AEAD.AES_GCM, key_bytes=32, hash_name="sha384"),
    0x002F: Tls12Suite(is_ecdhe=False, is_ecdsa=False, aead=None, key_bytes=16, hash_name="sha256"),
    0x0035: Tls12Suite(is_ecdhe=False, is_ecdsa=False, aead=None, key_bytes=32, hash_name="sha256"),
}
"""The suites below TLS 1.3 that Chrome or Firefox offers; each of its code point, whatever the offer was."""
