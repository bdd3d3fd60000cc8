"""What people have is read as the certificates in it; what holds none is refused by what it is, and never assessed."""

from __future__ import annotations

import base64
import contextlib
import functools
import html
import json
import textwrap
import urllib.parse
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
)
from detector_testing import generate_key
from detector_testing.pki import to_pem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.profiles import examples

from detector.errors import ChainError
from detector.trust import certificate_files, der
from detector.trust.certificate import KEY_NOT_PROVED
from detector.trust.certificate_files import CertificateFile, leaf_first, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector_testing import PrivatePKI
    from detector_testing.pki import Issued

HOST = "exam.example.edu"
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@pytest.fixture(scope="module")
def issued(pki: PrivatePKI) -> Issued:
    return pki.issue([HOST])


def each_line(change: Callable[[int, str], str]) -> Callable[[str], bytes]:
    """A wrapping that changes each line."""
    return lambda text: "".join(
        change(number, line) for number, line in enumerate(text.removesuffix("\n").split("\n"), 1)
    ).encode()


def s_client(text: str) -> bytes:
    """What `openssl s_client -showcerts` prints around the certificates."""
    blocks = [f"{block}{END}\n" for block in text.split(f"{END}\n") if block]
    listed = "".join(f" {number} s:CN = a\n   i:CN = b\n{block}" for number, block in enumerate(blocks))
    return (
        f"CONNECTED(00000003)\n---\nCertificate chain\n{listed}---\nServer certificate\nsubject=CN = a\n---\n".encode()
    )


WRAPPINGS: dict[str, Callable[[str], bytes]] = {
    "as written": str.encode,
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16 with a mark": lambda text: text.encode("utf-16"),
    "UTF-16, big end first": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-16, little end first, no mark": lambda text: text.encode("utf-16-le"),
    "UTF-16, big end first, no mark": lambda text: text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "quoted mail": each_line(lambda _, line: f"> {line}\n"),
    "mail quoted twice": each_line(lambda _, line: f"> > {line}\n"),
    "quoted-printable": lambda text: text.replace("=", "=3D").encode(),
    "a mail around it": lambda text: f"On Monday, Ann <ann@example.edu> wrote:\n{text}\nThanks < a lot\n".encode(),
    "indented": lambda text: textwrap.indent(text, "    ").encode(),
    "tabs": lambda text: textwrap.indent(text, "\t\t").encode(),
    "JSON": lambda text: json.dumps({"pem": text}).encode(),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"pem": text})).encode(),
    "JSON with escaped slashes": lambda text: json.dumps(text).replace("/", "\\/").encode(),
    "JSON by number": lambda text: (
        text.replace("\n", "\\u000a").replace("+", "\\u002b").replace("=", "\\u003d").encode()
    ),
    "JSON list of lines": lambda text: json.dumps(text.split("\n"), indent=2).encode(),
    "C source": each_line(lambda _, line: f'  "{line}\\n"\n'),
    "shell": each_line(lambda _, line: f"{line} \\\n"),
    "YAML": lambda text: b"tls:\n  ca: |\n" + textwrap.indent(text, "    ").encode(),
    "HTML breaks": lambda text: text.replace("\n", "<br>\n").encode(),
    "HTML breaks alone": lambda text: text.replace("\n", "<br/>").encode(),
    "HTML in spans": each_line(lambda _, line: f'<span class="line">{line}</span>\n'),
    "HTML entities": lambda text: (
        html.escape(text).replace("+", "&#43;").replace("/", "&#x2F;").replace("\n", "&#10;").encode()
    ),
    "XML": lambda text: f"<cert>{text}</cert>".replace("\n", "&#xA;").encode(),
    "a header of a proxy": lambda text: urllib.parse.quote(text, safe="").encode(),
    "a form": lambda text: urllib.parse.urlencode({"pem": text}).encode(),
    "one line with spaces": lambda text: text.replace("\n", " ").encode(),
    "one line": lambda text: text.replace(f"{END}\n", END).replace("\n", "").encode(),
    "log lines": each_line(lambda number, line: f"2026-11-30T02:31:{number % 60:02}Z DEBUG {line}\n"),
    "line numbers": each_line(lambda number, line: f"{number:6}\t{line}\n"),
    "a table": each_line(lambda _, line: f"| {line} |\n"),
    "non-breaking spaces": lambda text: text.replace("\n", "\u00a0\n").encode(),
    "soft hyphens and joiners": lambda text: text.replace("A", "A\u200b").replace("B", "\u00adB").encode(),
    "no line ends but the edges'": lambda text: text.replace("\n", "").replace(BEGIN, f"\n{BEGIN}\n").encode(),
    "no padding": lambda text: text.replace("=", "").encode(),
    "lower case edges": lambda text: text.replace(BEGIN, BEGIN.lower()).replace(END, END.lower()).encode(),
    "four dashes": lambda text: text.replace("-----", "----").encode(),
    "a word processor's dashes": lambda text: text.replace("--", "\u2013").encode(),
    "a space after the dashes": lambda text: text.replace("-----BEGIN", "---- BEGIN").encode(),
    "X509 label": lambda text: text.replace("CERTIFICATE", "X509 CERTIFICATE").encode(),
    "another charset around": lambda text: "Pr\u00fcfung \u2013 Zertifikat\n".encode("cp1252") + text.encode(),
    "s_client": s_client,
    "s_client on Windows": lambda text: s_client(text).replace(b"\n", b"\r\n"),
    "OpenSSL's text before it": lambda text: b"Certificate:\n    Data:\n        Version: 3 (0x2)\n" + text.encode(),
    "other blocks": lambda text: (
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        + text.encode()
        + b"-----BEGIN X509 CRL-----\nMIGI\n-----END X509 CRL-----\n"
    ),
    "binary zeros after it": lambda text: text.encode() + bytes(512),
}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
def test_pem_in_any_wrapping(wrap: Callable[[str], bytes], issued: Issued) -> None:
    """However a chain in PEM was copied, it is read as the same certificates in the same order."""
    found = read(wrap(issued.chain_pem.decode()))
    assert found == CertificateFile(issued.chain)
    assert leaf_first(found, HOST).certificates == issued.chain


@given(outer=st.sampled_from(sorted(WRAPPINGS)), inner=st.sampled_from(sorted(WRAPPINGS)))
@settings(max_examples=examples(400), deadline=None)
def test_pem_in_two_wrappings(outer: str, inner: str, issued: Issued) -> None:
    """A wrapping within another is read as the same certificates, or refused: never as others."""
    try:
        found = read(WRAPPINGS[outer](WRAPPINGS[inner](issued.chain_pem.decode()).decode()))
    except (ChainError, UnicodeDecodeError):
        return
    assert found.certificates == issued.chain


LINE_BREAKS = [
    " ",
    "\n",
    "\\n",
    "\\\\n",
    "<br>",
    "&#10;",
    "&lt;br&gt;",
    "%0A",
    '"',
    '\\"',
    "\\u000a",
    "\u2028",
    "\u000b",
]
"""What a name could have in place of line breaks. OpenSSL escapes real ones: the second stands for other programs."""


def session(before: str, listed: list[tuple[str, str]], chain: tuple[bytes, ...]) -> str:
    """The output of s_client on a chain whose certificates have these names as subject and issuer."""
    blocks = [
        f" {number} s:{subject}\n   i:{issuer}\n{to_pem(one).decode()}"
        for number, ((subject, issuer), one) in enumerate(zip(listed, chain, strict=True))
    ]
    after = f"---\nServer certificate\nsubject={listed[0][0]}\n"
    return f"CONNECTED(00000003)\n{before}---\nCertificate chain\n{''.join(blocks)}{after}"


@pytest.mark.parametrize("wrap", [wrap for name, wrap in WRAPPINGS.items() if not name.startswith("no line ends")])
@pytest.mark.parametrize("line_break", [one for one in LINE_BREAKS if one != "\n"])
def test_a_name_in_the_form_of_a_certificate(
    line_break: str, wrap: Callable[[str], bytes], pki: PrivatePKI, issued: Issued
) -> None:
    """An interceptor puts genuine certificates into the names of its own: they are never read in place of its own."""
    forged = FORGED(pki)
    pem = issued.chain_pem.decode().replace("\n", line_break)
    first, body, last = (
        pem.split("CERTIFICATE-----")[0] + "CERTIFICATE-----",
        base64.b64encode(issued.leaf).decode(),
        END,
    )
    for listed in (
        [(f"CN = {line_break}{pem}", "CN = b"), ("CN = b", "CN = c")],
        [(f"CN = {line_break}{pem}{line_break} 2 s:CN = x{line_break} 3 s:CN = y", "CN = b"), ("CN = b", "CN = c")],
        [("CN = " + first, "CN = " + body), (last, "CN = c")],
        [("CN = a " + first, body), ("CN = " + last, "CN = c")],
        [(pem, pem), (pem, pem)],
    ):
        for text in (session("", listed, forged), session(f"depth=0 {listed[0][0]}\n", listed, forged)):
            with contextlib.suppress(ChainError):
                assert read(wrap(text)).certificates == forged
    assert read(session("", [(f"CN = {pem}", "CN = b"), ("CN = b", "CN = c")], forged).encode()).certificates == forged


FIELDS = ["subject", "subject_cn", "commonName", "organization", "dns_names", "policy", "issuing_certificate_url", "x"]
"""Fields that programs print of a certificate, next to the certificate itself."""


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("with_end", ["", END])
def test_a_field_in_the_form_of_a_certificate(field: str, with_end: str, pki: PrivatePKI, issued: Issued) -> None:
    """Where a format makes a line of each of its values, no value of the interceptor's replaces its certificate."""
    genuine, forged = issued.chain_pem.decode(), "".join(to_pem(one).decode() for one in FORGED(pki))
    for value in (genuine, genuine.replace("\n", " "), with_end + genuine):
        fields = {field: value, "pem": forged}
        elements = "".join(f"<td>{content}</td>" for content in fields.values())
        for text in (json.dumps(fields), json.dumps(json.dumps(fields)), elements, urllib.parse.urlencode(fields)):
            with pytest.raises(ChainError, match=r"within lines of other text|is cut off"):
                read(text.encode())


@functools.cache
def FORGED(pki: PrivatePKI) -> tuple[bytes, ...]:  # noqa: N802 - one chain for all cases
    """An interceptor's chain."""
    filter_ca = pki.private_ca("Campus Filter CA")
    return filter_ca.issue([HOST]).leaf, filter_ca.certificate


def loaded(chain: tuple[bytes, ...]) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(one) for one in chain]


def block(content: bytes, label: str = "CERTIFICATE") -> bytes:
    """A PEM block of any content."""
    lines = base64.encodebytes(content).decode()
    return f"-----BEGIN {label}-----\n{lines}-----END {label}-----\n".encode()


def test_other_formats(issued: Issued) -> None:
    """DER, several in a row, PKCS #7 in DER and PEM, OpenSSL's trusted form and bare base64 are read."""
    leaf, chain = issued.chain[0], issued.chain
    message = pkcs7.serialize_certificates(loaded(chain), Encoding.DER)
    assert read(leaf).certificates == (leaf,)
    assert read(leaf + b"\r\n").certificates == (leaf,)
    assert read(b"".join(chain)).certificates == chain
    assert read(b"\n".join(chain)).certificates == chain
    for content in (
        message,
        pkcs7.serialize_certificates(loaded(chain), Encoding.PEM),
        block(message, "CERTIFICATE"),
        block(message, "PKCS #7 SIGNED DATA"),
        block(message, "CERTIFICATE CHAIN"),
        base64.b64encode(message),
    ):
        found = read(content)
        assert sorted(found.certificates) == sorted(chain)
        assert leaf_first(found, HOST).certificates == chain
    auxiliary = der.encode(der.SEQUENCE, der.encode(0x0C, b"alias"))
    assert read(block(leaf + auxiliary, "TRUSTED CERTIFICATE")).certificates == (leaf,)
    for lines in (base64.b64encode(leaf), base64.encodebytes(leaf), base64.b64encode(leaf).rstrip(b"=")):
        assert read(lines).certificates == (leaf,)
    assert read(base64.b64encode(b"".join(chain))).certificates == chain


KEY = generate_key("ec")
RSA = generate_key("rsa")
PRIVATE = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
SEC1 = KEY.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
PKCS1 = RSA.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
ENCRYPTED = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
PUBLIC = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
PKCS1_PUBLIC = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
NOBODY = x509.Name([])
REQUEST = x509.CertificateSigningRequestBuilder().subject_name(NOBODY).sign(KEY, hashes.SHA256())


def revocation_list(pki: PrivatePKI) -> bytes:
    builder = x509.CertificateRevocationListBuilder(issuer_name=NOBODY, last_update=pki.now, next_update=pki.now)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


KINDS: dict[str, tuple[bytes, str]] = {
    "PKCS #8": (PRIVATE, "a private key"),
    "SEC 1": (SEC1, "a private key"),
    "PKCS #1": (PKCS1, "a private key"),
    "encrypted key": (ENCRYPTED, "an encrypted private key"),
    "public key": (PUBLIC, "a public key"),
    "PKCS #1 public key": (PKCS1_PUBLIC, "a public key"),
    "request": (REQUEST.public_bytes(Encoding.DER), "a certificate signing request"),
    "OCSP": (bytes.fromhex("30030a0106"), "DER of an unknown kind"),
    "OCSP response": (bytes.fromhex("30070a0100a0023000"), "an OCSP response"),
    "integer": (bytes.fromhex("020101"), "binary data"),
    "empty sequence": (bytes.fromhex("3000"), "DER of an unknown kind"),
    "cut off": (bytes.fromhex("308203e80201"), "damaged or cut-off DER"),
    "indefinite length": (bytes.fromhex("3080020100040000"), "BER with indefinite lengths"),
}


@pytest.mark.parametrize(("content", "name"), KINDS.values(), ids=KINDS)
def test_der_without_certificates(content: bytes, name: str) -> None:
    """DER of something else is refused by its name, as a file, as base64 and as PEM that calls it a certificate."""
    for data in (content, content + b"\n", block(content), base64.b64encode(content)):
        with pytest.raises(ChainError) as refused:
            read(data)
        assert (name in refused.value.message) or (data[:1] != b"\x30" and name == "binary data")
        assert refused.value.advice


def test_a_revocation_list(pki: PrivatePKI, issued: Issued) -> None:
    """A CRL is named, also as the second block; what a CA's PKCS #7 message without certificates is, too."""
    content = revocation_list(pki)
    for data in (content, block(content), issued.chain_pem + block(content)):
        with pytest.raises(ChainError, match="is a certificate revocation list"):
            read(data)
    empty = pkcs7.PKCS7SignatureBuilder()  # RFC 5652 section 5.1: certificates are optional
    empty = empty.set_data(b"a").add_signer(loaded(issued.chain)[0], issued.key, hashes.SHA256())  # type: ignore[arg-type] # an EC key
    with pytest.raises(ChainError, match="a PKCS #7 message without certificates"):
        read(empty.sign(Encoding.DER, [pkcs7.PKCS7Options.NoCerts]))


TEXTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "white space": (b" \r\n\t\n", "empty"),
    "white space in UTF-16": ("\ufeff\r\n\r\n".encode("utf-16-le"), "empty"),
    "the character 0": (b"0", "text"),
    "text that begins with 0": (b"0 s:CN = exam.example.edu\n  i:CN = Example CA\n", "text"),
    "three zero bytes": (bytes(3), "binary data"),
    "zeros": (bytes(4096), "binary data"),
    "words": (b"not a certificate\n", "text"),
    "a host name": (b"exam.example.edu", "text"),
    "binary": (bytes(range(256)), "binary data"),
    "ZIP": (b"PK\x03\x04" + bytes(60), "an archive"),
    "gzip": (b"\x1f\x8b\x08" + bytes(60), "an archive"),
    "JKS": (bytes.fromhex("feedfeed00000002"), "a Java keystore"),
    "pcap": (bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"), "a packet capture"),
    "pcapng": (bytes.fromhex("0a0d0d0a1c0000004d3c2b1a"), "a packet capture"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(9), "a picture"),
    "JPEG": (b"\xff\xd8\xff\xe0" + bytes(9), "a picture"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
    "NSS database": (b"SQLite format 3\x00" + bytes(90), "a database"),
    "HAR": (b'{"log": {"version": "1.2", "entries": []}}', "a HAR file"),
    "report": (b'{"schema_version":1,"detector_version":"0.1.0","results":[]}', "a report of this program"),
    "bundle": (b'{"format":"x","envelope":{"payload":"e30="},"parts":[]}', "an evidence bundle"),
    "other JSON": (b'{"a": 1}', "text"),
    "key log": (b"CLIENT_RANDOM " + b"ab" * 32 + b" " + b"cd" * 48, "a TLS key log"),
    "key log of TLS 1.3": (b"# x\nCLIENT_HANDSHAKE_TRAFFIC_SECRET 00 11\n", "a TLS key log"),
    "SSH public key": (b"ssh-ed25519 AAAAC3Nz a@b\n", "an SSH key"),
    "page": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
    "page in capitals": (b"<HTML><HEAD></HEAD></HTML>", "a web page"),
    "curl": (b"* Connected\n* Server certificate:\n*  subject: CN=a\n", "output of curl -v"),
    "s_client": (b"CONNECTED(00000003)\n---\nno peer certificate available\n", "output of openssl s_client"),
    "x509 -text": (b"Certificate:\n    Data:\n        Version: 3\n", "a certificate printed as text"),
    "private key": (block(PRIVATE, "PRIVATE KEY"), "a private key"),
    "RSA private key": (block(PKCS1, "RSA PRIVATE KEY"), "a private key"),
    "encrypted private key": (block(ENCRYPTED, "ENCRYPTED PRIVATE KEY"), "an encrypted private key"),
    "OpenSSH key": (block(b"openssh-key-v1\0", "OPENSSH PRIVATE KEY"), "an SSH key"),
    "public key in PEM": (block(PUBLIC, "PUBLIC KEY"), "a public key"),
    "request in PEM": (block(b"x", "NEW CERTIFICATE REQUEST"), "a certificate signing request"),
    "CRL in PEM": (block(b"x", "X509 CRL"), "a certificate revocation list"),
    "OpenPGP": (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----\n", "an OpenPGP"),
    "another block": (block(b"x", "DH PARAMETERS"), "a PEM block of another kind (dh parameters)"),
}


@pytest.mark.parametrize(("content", "name"), TEXTS.values(), ids=TEXTS)
def test_files_without_certificates(content: bytes, name: str) -> None:
    """Each is refused by what it is, with what to give instead."""
    with pytest.raises(ChainError) as refused:
        read(content)
    assert f"is {name}" in refused.value.message
    assert refused.value.advice


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("name", ["key log", "HAR", "page", "private key", "words", "s_client"])
def test_kinds_in_other_encodings(name: str, encoding: str) -> None:
    """What a text is does not depend on its encoding."""
    content, kind = TEXTS[name]
    with pytest.raises(ChainError) as refused:
        read(content.decode().encode(encoding))
    assert f"is {kind}" in refused.value.message


@pytest.mark.parametrize("secret", [PRIVATE, SEC1, PKCS1], ids=["PKCS #8", "SEC 1", "PKCS #1"])
def test_a_private_key_is_never_quoted_nor_kept(secret: bytes, issued: Issued) -> None:
    """A key in any place is no certificate, and no message has a part of it."""
    lines = base64.encodebytes(secret).split()
    for data in (secret, block(secret), block(secret, "PRIVATE KEY"), issued.chain_pem + block(secret)):
        with pytest.raises(ChainError) as refused:
            read(data)
        assert "private key" in refused.value.message
        assert not any(line in str(refused.value).encode() for line in lines)
    found = read(block(secret, "PRIVATE KEY") + issued.chain_pem)
    assert found.certificates == issued.chain
    assert ["private key" in note for note in found.notes] == [True]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-400], "Block 2 is cut off"),
        (lambda text: text.replace(END, "", 1), "Block 1 is cut off"),
        (lambda text: text[200:], "Block 1 is cut off"),
        (lambda text: text.replace(f"{BEGIN}\n", "", 1), "Block 1 is cut off"),
        (lambda text: text.replace(f"{END}\n{BEGIN}\n", f"{END}\n"), "Block 2 is cut off"),
        (lambda text: text.replace("MII", "M#!", 1), "Block 1 is damaged: it is not base64"),
        (lambda text: text + f"{BEGIN}\n{END}\n", "Block 3 is empty"),
        (lambda text: text + f"{BEGIN}\nAAAA\n{END}\n", "Block 3 is"),
        (lambda text: text + f"{BEGIN}\nMIIB\n{END}\n", "Block 3 is damaged or cut-off DER"),
        (lambda _: f"{BEGIN}\nAAAA\n{END}\n", "Block 1 is"),
        (lambda _: f"{BEGIN}\nMAA=\n{END}\n", "Block 1 is DER of an unknown kind"),
        (lambda text: text.replace("\n", "\n\n", 1)[: len(text) // 2] + f"\n{END}\n", "Block"),
    ],
)
def test_a_damaged_block_is_named(damage: Callable[[str], str], message: str, issued: Issued) -> None:
    """A file with a certificate that cannot be read is an error that names the block: it accuses nobody."""
    with pytest.raises(ChainError) as refused:
        read(damage(issued.chain_pem.decode()).encode())
    assert message in refused.value.message


def test_what_a_server_may_have_sent_behind_its_certificate_is_kept(issued: Issued) -> None:
    """Whole DER of an unknown kind behind the first certificate stays, with a note: a server can present that."""
    junk = bytes.fromhex("3003020101")
    found = read(issued.chain_pem + block(junk))
    assert found.certificates == (*issued.chain, junk)
    assert found.notes == ("Block 3 is not a certificate; it is assessed as a part of what the server presented.",)
    with pytest.raises(ChainError, match="Block 1"):
        read(block(junk) + issued.chain_pem)


def test_der_followed_by_something_else(issued: Issued) -> None:
    """What follows a certificate in a binary file is a certificate, or named as damaged."""
    with pytest.raises(ChainError, match="what follows certificate 1 is damaged or cut off"):
        read(issued.leaf + b"\x00\x01rest")
    with pytest.raises(ChainError, match="what follows certificate 1 is a private key"):
        read(issued.leaf + PRIVATE)


def test_s_client_without_showcerts(issued: Issued) -> None:
    """Output that lists more certificates than it holds is refused: the chain in it would be incomplete."""
    listed = b"CONNECTED(3)\n---\nCertificate chain\n 0 s:CN = a\n   i:CN = b\n 1 s:CN = b\n   i:CN = c\n---\n"
    leaf = to_pem(issued.leaf)
    with pytest.raises(ChainError, match="presented 2 certificates, and this output of openssl s_client holds 1"):
        read(listed + b"Server certificate\n" + leaf)
    with pytest.raises(ChainError, match="is output of openssl s_client"):
        read(listed)
    assert read(listed + issued.chain_pem).certificates == issued.chain


def test_limits(issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is too large, or holds more than a connection can, is refused."""
    leaf = to_pem(issued.leaf)
    too_many = (certificate_files.CERTIFICATES_MAX + 1) * leaf, (certificate_files.CERTIFICATES_MAX + 1) * issued.leaf
    message = pkcs7.serialize_certificates(loaded(issued.chain), Encoding.DER)
    for data in too_many:
        with pytest.raises(ChainError, match="more than 256 certificates"):
            read(data)
    with pytest.raises(ChainError, match="larger than 4 MiB"):
        read(leaf + bytes(certificate_files.FILE_BYTES_MAX))
    monkeypatch.setattr(certificate_files, "CERTIFICATES_MAX", 1)
    with pytest.raises(ChainError, match="more than 1 certificates"):
        read(message)
    monkeypatch.setattr(certificate_files, "CERTIFICATES_BYTES_MAX", 100)
    with pytest.raises(ChainError, match="or 0 KiB"):
        read(leaf)


@given(data=st.binary(max_size=300))
@settings(max_examples=examples(2000), deadline=None)
def test_any_bytes(data: bytes) -> None:
    """Whatever the bytes: certificates, or `ChainError`."""
    with contextlib.suppress(ChainError):
        assert read(data).certificates


PARTS = [
    *(b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b"-----BEGIN PKCS7-----", b"\n", b"> ", b"<", b">"),
    *(
        b"\\n",
        b"&#10;",
        b"%0A",
        b"%2B",
        b"BEGIN+",
        b"=3D",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\x00",
        b"-",
        b"MIIB",
        b"0\x82",
    ),
    *(b" 0 s:CN", b" 1 s:CN", b"-----END ", b"- BEGIN X-", b"\xe2\x80\x93", b"TRUSTED CERTIFICATE"),
]


@given(parts=st.lists(st.sampled_from(PARTS) | st.binary(max_size=8), max_size=30))
@settings(max_examples=examples(2000), deadline=None)
def test_any_arrangement(parts: list[bytes]) -> None:
    """Parts of every format in any order: certificates, or `ChainError`."""
    with contextlib.suppress(ChainError):
        assert read(b"".join(parts)).certificates


CHANGES = st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 40), st.binary(max_size=6)), min_size=1, max_size=4)
"""Places in a file, how many bytes are cut out there, and what takes their place."""


@given(number=st.integers(0, 1000), changes=CHANGES)
@settings(max_examples=examples(1500), deadline=None)
def test_real_files_with_changes(number: int, changes: list[tuple[int, int, bytes]], issued: Issued) -> None:
    """A changed file of any format gives certificates, or `ChainError`; it is put in order, or refused."""
    message = pkcs7.serialize_certificates(loaded(issued.chain), Encoding.DER)
    wrapped = (wrap(issued.chain_pem.decode()) for wrap in WRAPPINGS.values())
    files = [b"".join(issued.chain), message, block(message, "PKCS7"), *wrapped]
    data = files[number % len(files)]
    for place, length, instead in changes:
        at = place % len(data)
        data = data[:at] + instead + data[at + length :] or b"0"
    with contextlib.suppress(ChainError):
        assert leaf_first(read(data), HOST).certificates


def test_a_file_says_that_the_key_was_not_proved(issued: Issued) -> None:
    """The comment of a saved chain counts in any wrapping of lines, before the certificates, also where they move."""
    said = f"# Presented by x:443.\n{KEY_NOT_PROVED}\n"
    pem = issued.chain_pem.decode()
    for text in (said + pem, said.replace("\n", "\r\n") + pem, "\ufeff" + said + pem):
        found = leaf_first(read(text.encode()), HOST)
        assert (found.certificates, found.key_proved) == (issued.chain, False)
        assert "did not prove the key" in found.notes[0]
    backwards = said + "".join(to_pem(one).decode() for one in reversed(issued.chain))
    assert leaf_first(read(backwards.encode()), HOST).key_proved is False
    assert read((pem + said).encode()).key_proved
    assert read(pem.encode()).key_proved


# Order


@pytest.fixture(scope="module")
def path(pki: PrivatePKI, issued: Issued) -> tuple[bytes, ...]:
    """A whole path: leaf, intermediate, root."""
    root = next(
        ca
        for ca in (pki.root_a, pki.root_b)
        if to_pem(ca.certificate) in pki.roots_pem() and signs(ca.certificate, issued.chain[-1])
    )
    return (*issued.chain, root.certificate)


def signs(issuer: bytes, child: bytes) -> bool:
    one, other = loaded((issuer, child))
    return one.subject == other.issuer


def test_any_order_of_one_path(path: tuple[bytes, ...]) -> None:
    """A file of exactly one path is put in order, with a note; where the leaf is first already, nothing is changed."""
    for order in permutations(path):
        found = leaf_first(CertificateFile(order), HOST)
        if order[0] == path[0]:
            assert found == CertificateFile(order)
        else:
            assert found.certificates == path
            assert "was put first" in found.notes[0]


def test_any_order_of_another_hosts_path(path: tuple[bytes, ...]) -> None:
    """A path for another host is put in order just the same: it stays the wrong certificate."""
    for order in permutations(path):
        assert leaf_first(CertificateFile(order), "other.example.net").certificates in {path, order}
        assert leaf_first(CertificateFile(order), "other.example.net").certificates[0] == path[0]


@given(draw=st.data())
@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_order_never_clears(draw: st.DataObject, pki: PrivatePKI) -> None:
    """A genuine certificate behind another one, which no key of the file signed or which is a leaf, never comes first.

    On the wire the first certificate is the one that the server has the key of: what an attacker puts behind its own
    must not replace it.
    """
    genuine = pki.issue([HOST]).chain
    filter_ca = pki.private_ca("Campus Filter CA")
    same_name = pki.private_ca(x509.load_der_x509_certificate(genuine[1]).subject)
    attackers = [
        filter_ca.issue(["other.example.net"]).leaf,
        filter_ca.certificate,
        same_name.certificate,
        same_name.issue([HOST]).leaf,
        pki.self_signed(["portal.example.net"]).leaf,
        pki.issue(["other.example.net"]).leaf,
    ]
    first = draw.draw(st.sampled_from(attackers))
    others = draw.draw(st.permutations([*genuine, *draw.draw(st.lists(st.sampled_from(attackers), max_size=2))]))
    try:
        found = leaf_first(CertificateFile((first, *others)), HOST)
    except ChainError:
        return
    assert found.certificates[0] == first


def test_not_leaf_first_is_said(pki: PrivatePKI, issued: Issued) -> None:
    """The refusal names the certificate that is for the host, and what to do."""
    other = pki.issue(["other.example.net"]).chain
    with pytest.raises(ChainError) as refused:
        leaf_first(CertificateFile((*other, *issued.chain)), HOST)
    assert refused.value.message == f"Certificate 3 is for {HOST} and the first one is not: not leaf first."
    assert "--as-presented" in refused.value.advice


def test_a_set_has_no_order(pki: PrivatePKI, issued: Issued) -> None:
    """Of a set, the one certificate for the host comes first, whatever else is in it; of two, none is chosen."""
    other, again = pki.issue(["other.example.net"]).leaf, pki.issue([HOST]).leaf
    found = leaf_first(CertificateFile((other, *reversed(issued.chain)), is_set=True), HOST)
    assert found.certificates[0] == issued.leaf
    assert sorted(found.certificates) == sorted((other, *issued.chain))
    for order in permutations((other, issued.leaf, again)):
        with pytest.raises(ChainError, match=f"This has 2 certificates for {HOST} in no order"):
            leaf_first(CertificateFile(order, is_set=True), HOST)


def test_a_genuine_certificate_in_a_set_replaces_nothing(pki: PrivatePKI, issued: Issued) -> None:
    """An interceptor sends the genuine chain behind its own: PKCS #7 sorts them by their encoding, so none is chosen.

    Names make the interceptor's certificate the longer one, which is sorted behind the genuine one.
    """
    names = [f"{number}.example.net" for number in range(100)]
    forged = pki.private_ca("Campus Filter CA").issue([HOST, *names]).leaf
    message = pkcs7.serialize_certificates(loaded((forged, *issued.chain)), Encoding.DER)
    found = read(message)
    assert found.certificates.index(issued.leaf) < found.certificates.index(forged)
    with pytest.raises(ChainError, match="in no order"):
        leaf_first(found, HOST)


def test_certificates_of_cas_alone_are_no_servers(pki: PrivatePKI, issued: Issued) -> None:
    """A bundle of intermediates accuses nobody of having presented it; a root that stands alone may be an appliance."""
    above = (*issued.chain[1:], pki.root_a.certificate)
    for authorities in (issued.chain[1:], above, above[::-1]):
        with pytest.raises(ChainError, match=f"CAs alone, and none of a server such as {HOST}"):
            leaf_first(CertificateFile(authorities), HOST)
    alone = CertificateFile((pki.root_a.certificate,))
    assert leaf_first(alone, HOST) == alone


def test_certificates_of_other_servers_are_said(pki: PrivatePKI, issued: Issued) -> None:
    """Several chains in a file: the first one is assessed, and a note names the others."""
    other = pki.issue(["lms.example.org"]).chain
    found = leaf_first(CertificateFile((*issued.chain, *other)), HOST)
    assert found.certificates == (*issued.chain, *other)
    assert found.notes == (
        "The file also holds certificates of other servers (lms.example.org). Give each chain in a file of its own.",
    )


def test_repetitions_do_not_matter(issued: Issued) -> None:
    """A leaf that is there twice, as older s_client prints it, changes nothing."""
    assert leaf_first(CertificateFile((*issued.chain, issued.leaf)), HOST).certificates == (*issued.chain, issued.leaf)
    assert leaf_first(CertificateFile((*issued.chain[::-1], issued.leaf)), HOST).certificates == issued.chain


def test_names_for_messages(pki: PrivatePKI) -> None:
    """The first names of a certificate, or its common name."""
    assert (
        certificate_files.names_of(pki.issue(["a.example.edu", "b.example.edu"]).leaf) == "a.example.edu, b.example.edu"
    )
    assert certificate_files.names_of(b"0") == ""


@pytest.mark.parametrize("name", ["\x1b[2J\nVERDICT: CLEAN", "a" * 40_000])
def test_names_in_messages_are_harmless(name: str, pki: PrivatePKI, issued: Issued) -> None:
    """Names are their author's: in a message they begin no line, give a terminal no command, and have an end."""
    other = pki.self_signed([name]).leaf
    for shown in (
        certificate_files.names_of(other),
        *leaf_first(CertificateFile((*issued.chain, other)), HOST).notes,
    ):
        assert shown.isprintable()
        assert len(shown) < 1000
