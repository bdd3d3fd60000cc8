"""Tests of detector.pins.formats: files as other programs have them, and files that somebody made to mislead."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import plistlib
from typing import TYPE_CHECKING, Any

import pytest

from detector.errors import PinFileError
from detector.knowledge.data_set import shipped as shipped_data
from detector.model import RecordedIdentity
from detector.pins import encode_pin
from detector.pins.formats import PinFormat, import_pins, markup
from detector.trust.certificate import Certificate

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

    from detector.pins import PinSet

DATA = shipped_data()
TODAY = dt.date(2026, 11, 30)
EXAM, API = "exam.example.edu", "api.example.edu"
ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))
A, B, C = (encode_pin(pin).removeprefix("sha256/") for pin in (ONE, TWO, THREE))


def imported(data: str | bytes, form: PinFormat, *hosts: str) -> PinSet:
    """What an import of this content makes."""
    content = data.encode() if isinstance(data, str) else data
    return import_pins(content, form, file="given", at=TODAY, known=DATA, name="exam", hosts=hosts)[0]


def pins_of(pin_set: PinSet) -> dict[str, tuple[bytes, ...]]:
    """The pins of each host."""
    return {endpoint.host: endpoint.pins for endpoint in pin_set.endpoints}


def notes_of(data: str | bytes, form: PinFormat, *hosts: str) -> tuple[str, ...]:
    """The notes on what was left out."""
    content = data.encode() if isinstance(data, str) else data
    return import_pins(content, form, file="given", at=TODAY, known=DATA, name="exam", hosts=hosts)[1]


def plist(content: dict[str, Any]) -> bytes:
    """An XML property list."""
    return plistlib.dumps(content)


def trustkit(**domains: dict[str, Any]) -> bytes:
    """TrustKit's configuration in an Info.plist; _ in names stands for a dot."""
    named = {name.replace("_", "."): domain for name, domain in domains.items()}
    return plist({"CFBundleName": "App", "TSKConfiguration": {"TSKPinnedDomains": named}})


def test_trustkit() -> None:
    """Its date is the first day without pins; what reports need is left out with a note."""
    domain = {"TSKPublicKeyHashes": [A, B], "TSKExpirationDate": "2027-02-01", "TSKReportUris": ["https://r.example"]}
    data = trustkit(exam_example_edu=domain)
    pin_set = imported(data, PinFormat.TRUSTKIT)
    assert pins_of(pin_set) == {EXAM: (ONE, TWO)}
    assert pin_set.expires == pin_set.endpoints[0].expires == dt.date(2027, 1, 31)
    assert pin_set.endpoints[0].identity is RecordedIdentity.UNKNOWN
    assert notes_of(data, PinFormat.TRUSTKIT) == ("TSKReportUris is left out: it says nothing of the host's keys.",)


def test_trustkit_subdomains() -> None:
    """A domain with subdomains needs the hosts; the nearest entry decides, and an exempted host has no pins."""
    data = trustkit(
        example_edu={"TSKPublicKeyHashes": [A, B], "TSKIncludeSubdomains": True},
        api_example_edu={"TSKPublicKeyHashes": [C, B]},
        www_example_edu={"kSKExcludeSubdomainFromParentPolicy": True},
    )
    with pytest.raises(PinFileError, match=r"^given: example\.edu: its pins hold for .*--host"):
        imported(data, PinFormat.TRUSTKIT)
    found = pins_of(imported(data, PinFormat.TRUSTKIT, EXAM, API, EXAM))
    assert found == {EXAM: (ONE, TWO), API: (THREE, TWO)}
    for host in ("www.example.edu", "example.org", "badexample.edu"):
        with pytest.raises(PinFileError, match=f"^given: '{host}': the file has no pins for this host"):
            imported(data, PinFormat.TRUSTKIT, host)


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ({"TSKPublicKeyHashes": [A], "TSKEnforcePinning": False}, "TSKEnforcePinning: is false"),
        ({"TSKPublicKeyHashes": [A], "TSKEnforcePinning": "no"}, "TSKEnforcePinning: is neither"),
        ({"TSKPublicKeyHashes": "", "TSKIncludeSubdomains": "no"}, "TSKPublicKeyHashes: is not an array"),  # pins first
        ({"TSKPublicKeyHashes": [A], "TSKExcludeSubdomainFromParentPolicy": True}, "is given for an excluded"),
        ({"TSKPublicKeyHashes": [A], "TSKAdditionalTrustAnchors": []}, "TSKAdditionalTrustAnchors: is not known"),
        ({"TSKPublicKeyHashes": [A], "TSKExpirationDate": "2027-02-31"}, "TSKExpirationDate: '2027-02-31' is not"),
        ({"TSKPublicKeyHashes": [A], "TSKExpirationDate": "20270201"}, "TSKExpirationDate: "),
        ({"TSKPublicKeyHashes": [A], "TSKExpirationDate": "0001-01-01"}, "TSKExpirationDate: "),
        ({"TSKPublicKeyHashes": [A], "TSKExpirationDate": "2026-11-01"}, "expires: expired on 2026-10-31"),
        ({"TSKPublicKeyHashes": []}, "TSKPublicKeyHashes: is not an array"),
        ({"TSKPublicKeyHashes": [A[:-4]]}, r"TSKPublicKeyHashes\[0\]: "),
        ({"TSKPublicKeyHashes": [f"sha256/{A}"]}, r"TSKPublicKeyHashes\[0\]: .* is not base64"),
        ({"TSKPublicKeyHashes": [ONE]}, r"TSKPublicKeyHashes\[0\]: is not text"),
        ({"TSKPublicKeyHashes": [A] * 300}, r"TSKPublicKeyHashes: 300 pins"),
        ({}, "TSKPublicKeyHashes: "),
    ],
)
def test_trustkit_refusals(domain: dict[str, Any], words: str) -> None:
    """The error names the file and the field."""
    with pytest.raises(PinFileError, match=f"^given: .*{words}"):
        imported(trustkit(exam_example_edu=domain), PinFormat.TRUSTKIT)


def test_one_last_day() -> None:
    """A pin file has one last day: hosts with another one are imported into a file of their own."""
    data = trustkit(
        exam_example_edu={"TSKPublicKeyHashes": [A], "TSKExpirationDate": "2027-02-01"},
        api_example_edu={"TSKPublicKeyHashes": [B]},
    )
    with pytest.raises(PinFileError, match=r"^given: expires: .*different days.*--host"):
        imported(data, PinFormat.TRUSTKIT)
    assert imported(data, PinFormat.TRUSTKIT, API).expires is None


def ats(**domain: object) -> bytes:
    """An Info.plist that pins one domain."""
    return plist({"NSAppTransportSecurity": {"NSPinnedDomains": {"example.edu": domain}}})


def test_app_transport_security() -> None:
    """Subdomains are those of one more label. Two lists that both have to fit are refused."""
    identities = [{"SPKI-SHA256-BASE64": A}]
    data = ats(NSPinnedCAIdentities=identities, NSIncludesSubdomains=True)
    assert pins_of(imported(data, PinFormat.ATS, EXAM, "example.edu")) == {EXAM: (ONE,), "example.edu": (ONE,)}
    with pytest.raises(PinFileError, match="no pins for this host"):
        imported(data, PinFormat.ATS, "a.exam.example.edu")
    for both in ({"NSPinnedCAIdentities": identities, "NSPinnedLeafIdentities": identities}, {}):
        with pytest.raises(PinFileError, match=r"^given: NSPinnedDomains\.example\.edu\.NSPinnedLeafIdentities: "):
            imported(ats(**both), PinFormat.ATS)
    with pytest.raises(PinFileError, match=r"NSPinnedLeafIdentities\[0\]: is not a dictionary"):
        imported(ats(NSPinnedLeafIdentities=[A]), PinFormat.ATS)
    with pytest.raises(PinFileError, match="NSAppTransportSecurity: is missing"):
        imported(plist({}), PinFormat.ATS)


ANDROID = f"""<?xml version="1.0" encoding="utf-8"?>
<network-security-config>
  <base-config cleartextTrafficPermitted="false"/>
  <domain-config>
    <domain includeSubdomains="true">example.edu</domain>
    <trust-anchors><certificates src="system"/></trust-anchors>
    <pin-set expiration="2027-02-01">
      <pin digest="SHA-256">{A}</pin><!-- next --><pin digest="SHA-256">{B}</pin>
    </pin-set>
    <domain-config>
      <domain>api.example.edu</domain>
      <domain-config>
        <domain>own.api.example.edu</domain><pin-set><pin digest="SHA-256">{C}</pin></pin-set>
      </domain-config>
    </domain-config>
  </domain-config>
  <domain-config><domain>www.example.edu</domain></domain-config>
</network-security-config>
"""


def test_android() -> None:
    """Configurations inherit pins, the nearest name decides, and one without pins exempts its hosts."""
    found = imported(ANDROID, PinFormat.ANDROID, EXAM, API)
    assert (pins_of(found), found.expires) == ({EXAM: (ONE, TWO), API: (ONE, TWO)}, dt.date(2027, 1, 31))
    own = imported(ANDROID, PinFormat.ANDROID, "own.api.example.edu")
    assert (pins_of(own), own.expires) == ({"own.api.example.edu": (THREE,)}, None)
    with pytest.raises(PinFileError, match="no pins for this host"):
        imported(ANDROID, PinFormat.ANDROID, "www.example.edu")
    assert len(notes_of(ANDROID, PinFormat.ANDROID, EXAM)) == len(("base-config", "trust-anchors"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('digest="SHA-256"', 'digest="SHA-1"', "<pin>: has another digest"),
        ('src="system"', 'src="user" overridePins="true"', "overridePins: exempts"),
        ('includeSubdomains="true"', 'includeSubdomains="yes"', "includeSubdomains: is neither"),
        ("<pin-set><pin", "<pin-set/><pin-set><pin", "<pin-set>: is there twice"),
        ("<domain>www.example.edu", "<domain>api.example.edu", r"api\.example\.edu: is there twice"),
        ("<domain>www.example.edu", "<domain>www<x/>.example.edu", "has elements in its text"),
        ("<domain>www.example.edu", "<domain>*.example.edu", "<domain>: "),
        ("<base-config", "<other-config", "<other-config>: is not known"),
        ("<trust-anchors>", "<x/><trust-anchors>", "<x>: is not known"),
        ("network-security-config>", "x>", "root element"),
        ("2027-02-01", "tomorrow", "expiration: 'tomorrow' is not a date"),
    ],
)
def test_android_refusals(old: str, new: str, words: str) -> None:
    """What changes the pins and has no place in a pin file is refused."""
    with pytest.raises(PinFileError, match=f"^given: .*{words}"):
        imported(ANDROID.replace(old, new), PinFormat.ANDROID, EXAM)


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE x [<!ENTITY e "sha">]>',
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>',
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x [<!ENTITY % e SYSTEM "http://127.0.0.1/x.dtd"> %e;]>',
        '<!DOCTYPE x [<!ATTLIST domain includeSubdomains CDATA "true">]>',
    ],
    ids=["entity", "expansion", "external", "parameter", "default attribute"],
)
def test_xml_defines_nothing(doctype: str) -> None:
    """A file says what it says: no entities, no files of others, no attributes by default."""
    data = ANDROID.replace("<network-security-config>", doctype + "<network-security-config>", 1)
    with pytest.raises(PinFileError, match=r"^given: This XML declares or uses entities"):
        imported(data, PinFormat.ANDROID, EXAM)


def test_entities_of_a_dtd_elsewhere_are_not_dropped() -> None:
    """With an external DTD an unknown entity is no error for a parser that does not read it: it would vanish."""
    data = ANDROID.replace("<network", '<!DOCTYPE x SYSTEM "x.dtd"><network', 1).replace("www.", "&w;www.", 1)
    with pytest.raises(PinFileError, match=r"^given: This XML declares or uses entities"):
        imported(data, PinFormat.ANDROID, EXAM)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("<a>" * 100 + "</a>" * 100, "elements"),
        ("<a>" + "<a/>" * (markup.ELEMENTS_MAX + 1) + "</a>", "elements"),
        ('<?xml version="1.0" encoding="x-unknown"?><a/>', "not XML"),
        ('<?xml version="1.0" encoding="rot13"?><a/>', "not XML"),
        ("", "not XML"),
        ("<a>\x00</a>", "not XML"),
        ("a" * (1024 * 1024 + 1), "larger than"),
    ],
    ids=["nested", "many", "encoding", "codec", "empty", "zero", "large"],
)
def test_xml_is_bounded(data: str, words: str) -> None:
    """Depth, number and size have limits, and what is no XML is refused."""
    for form in (PinFormat.ANDROID, PinFormat.TRUSTKIT):
        with pytest.raises(PinFileError, match=rf"^given: .*{words}"):
            imported(data, form, EXAM)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("<dict><key>a</key><true/><key>a</key><false/></dict>", "the key 'a' is there twice"),
        ("<dict><key>a</key></dict>", "keys and values do not alternate"),
        ("<dict><true/><true/></dict>", "keys and values do not alternate"),
        ("<dict><key>a</key><integer>9e9</integer></dict>", "is no integer"),
        ("<dict><key>a</key><integer>" + "9" * 5000 + "</integer></dict>", "is no integer"),
        ("<dict><key>a</key><data>\u00e9</data></dict>", "is not base64"),
        ("<dict><key>a</key><set/></dict>", "'set' is no property list's"),
        ("<array/>", "not a property list of a dictionary"),
        ("", "not a property list of a dictionary"),
    ],
)
def test_property_lists_are_strict(content: str, words: str) -> None:
    """Two readers of one file must not find different pins."""
    with pytest.raises(PinFileError, match=f"^given: .*{words}"):
        imported(f"<plist>{content}</plist>", PinFormat.TRUSTKIT)


def test_binary_property_lists_are_refused() -> None:
    """Their objects may refer to each other; the error says how to convert one."""
    with pytest.raises(PinFileError, match=r"^given: .*binary.* plutil"):
        imported(plistlib.dumps({}, fmt=plistlib.FMT_BINARY), PinFormat.ATS)


OKHTTP = f"""
import okhttp3.CertificatePinner;
// CertificatePinner.Builder().add("comment.example.edu", "sha256/{C}")
/* new CertificatePinner.Builder().add("comment.example.edu", "sha256/{C}") */
String help = "CertificatePinner.Builder().add(\\"text.example.edu\\", \\"sha256/{C}\\")";
val raw = \"\"\"
  CertificatePinner.Builder().add("raw.example.edu", "sha256/{C}").build()
\"\"\"
names.add("first");
CertificatePinner pinner = new CertificatePinner.Builder()
    .add("exam.example.edu", "sha256/{A}", // the key in use
         "sha256/{B}")
    .add("exam.example.edu", "sha256/{C}")
    .build();
names.add("last", "sha256/{C}");
"""


def test_okhttp() -> None:
    """Calls within the builder count; comments, texts and lists of something else do not. Pins of a host add up."""
    assert pins_of(imported(OKHTTP, PinFormat.OKHTTP)) == {EXAM: (ONE, TWO, THREE)}


def builder(*calls: str) -> str:
    """Source with these arguments of add."""
    return "CertificatePinner.Builder()" + "".join(f".add({call})" for call in calls) + ".build()"


def test_okhttp_patterns() -> None:
    """One asterisk is one label, two are any number; all that fit apply."""
    source = builder(f'"*.example.edu", "sha256/{A}"', f'"**.example.edu", "sha256/{B}"')
    with pytest.raises(PinFileError, match=r"^given: example\.edu: its pins hold for .*--host"):
        imported(source, PinFormat.OKHTTP)
    found = pins_of(imported(source, PinFormat.OKHTTP, EXAM, "a.exam.example.edu", "example.edu"))
    assert {host: set(pins) for host, pins in found.items()} == {
        EXAM: {ONE, TWO},
        "a.exam.example.edu": {TWO},
        "example.edu": {TWO},
    }


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("HOST, PIN", r"add\(\): has an argument that is not a text"),
        (f'"{EXAM}", PIN', "argument that is not a text"),
        (f'"{EXAM}", "sha256/" + PIN', "is not 32|decodes to 0|argument that is not"),
        (f'"{EXAM}", "sha256/${{pin}}"', "is not plain text"),
        (f'"{EXAM}", "sha256\\u002f{A}"', "is not plain text"),
        (f'"{EXAM}", "sha1/{A}"', "does not begin with sha256/"),
        (f'"{EXAM}"', "has no pin"),
        (f'"*.*.example.edu", "sha256/{A}"', r"add\("),
        (f'"{EXAM}", "sha256/{A}', "is not plain text"),
        (f'"{EXAM}", "sha256/{A}" /* ', "has no closing bracket"),
    ],
)
def test_okhttp_refusals(call: str, words: str) -> None:
    """A pin that only the program knows is not guessed."""
    with pytest.raises(PinFileError, match=f"^given: .*({words})"):
        imported(builder(call), PinFormat.OKHTTP)
    with pytest.raises(PinFileError, match="not UTF-8"):
        imported(b"\xff", PinFormat.OKHTTP)


HEADER = f'pin-sha256="{A}"; pin-sha256="{B}"; max-age=5184000; includeSubDomains; report-uri="https://r.example/;a"'


def test_header() -> None:
    """A header is found among others; its last day counts from today, and its host has to be named."""
    response = f"HTTP/2 200\r\nserver: x\r\nPublic-Key-Pins: {HEADER}\r\n"
    found = imported(response, PinFormat.HPKP, EXAM)
    assert (pins_of(found), found.expires) == ({EXAM: (ONE, TWO)}, TODAY + dt.timedelta(days=60))
    assert notes_of(response, PinFormat.HPKP, EXAM) == ("report-uri is left out: it says nothing of the host's keys.",)
    with pytest.raises(PinFileError, match=r"^given: host: its pins hold for any host.*--host"):
        imported(response, PinFormat.HPKP)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (HEADER, "Public-Key-Pins: is there 0 times"),
        (f"Public-Key-Pins: {HEADER}\nPublic-Key-Pins: {HEADER}", "is there 2 times"),
        (f"Public-Key-Pins-Report-Only: {HEADER}", "has pins on trial"),
        (f'Public-Key-Pins: pin-sha256="{A}"', "max-age: "),
        (f'Public-Key-Pins: pin-sha256="{A}"; max-age=0', "max-age: '0'"),
        (f'Public-Key-Pins: pin-sha256="{A}"; max-age=86400; max-age=1', "'max-age': is there twice"),
        (f'Public-Key-Pins: pin-sha256="{A}"; max-age=' + "9" * 5000, "max-age: "),
        (f"Public-Key-Pins: pin-sha256={A[:-1]}; max-age=86400", "pin-sha256: is not within quotes"),
        (f'Public-Key-Pins: pin-sha1="{A}"; max-age=86400', "'pin-sha1': is there twice, or not known"),
        (f'Public-Key-Pins: pin-sha256="{A}; max-age=86400', "directive 1 is damaged"),
        ("Public-Key-Pins: max-age=86400", "holds no pins"),
        ("Public-Key-Pins: \u00e9", "not ASCII"),
    ],
)
def test_header_refusals(header: str, words: str) -> None:
    """A header that a browser would ignore, or that two browsers read differently, makes no pins."""
    with pytest.raises(PinFileError, match=f"^given: .*{words}"):
        imported(header, PinFormat.HPKP, EXAM)


def seb(*certificates: tuple[int, bytes], pinned: object = True, key: str = "certificateDataBase64") -> bytes:
    """Settings of Safe Exam Browser with these certificates."""
    embedded = [{"type": kind, "name": "x", key: base64.b64encode(der).decode()} for kind, der in certificates]
    return plist({"startURL": "https://x", "pinEmbeddedCertificates": pinned, "embeddedCertificates": embedded})


def test_safe_exam_browser(pki: PrivatePKI) -> None:
    """The keys of servers and intermediate CAs become pins of the named hosts, however the settings are packed."""
    leaf, issuer = pki.issue([EXAM]).chain[:2]
    expected = {EXAM: tuple(Certificate.read(der).spki_sha256 for der in (leaf, issuer))}
    content = seb((0, leaf), (2, issuer), (1, b"identity"))
    for data in (content, gzip.compress(content), gzip.compress(b"plnd" + gzip.compress(content)), b"plnd" + content):
        assert pins_of(imported(data, PinFormat.SEB, EXAM)) == expected
    assert pins_of(imported(seb((0, leaf), key="certificateDataWin"), PinFormat.SEB, EXAM)) == {
        EXAM: expected[EXAM][:1]
    }
    assert "identity" in notes_of(content, PinFormat.SEB, EXAM)[0]
    with pytest.raises(PinFileError, match="host: its pins hold for any host"):
        imported(content, PinFormat.SEB)


def test_safe_exam_browser_refusals(pki: PrivatePKI) -> None:
    """Encrypted settings, trust without pinning, roots and certificates for debugging make no pins."""
    leaf = pki.issue([EXAM]).chain[0]
    for data, words in (
        (gzip.compress(b"pswd" + bytes(50)), "These settings are encrypted"),
        (gzip.compress(bytes(2**21)), "larger than"),
        (gzip.compress(b"plnd" + gzip.compress(bytes(2**21))), "larger than"),
        (gzip.compress(seb((0, leaf)))[:-9], "cut off"),
        (b"\x1f\x8b" + bytes(20), "damaged"),
        (seb((0, leaf), pinned=False), "pinEmbeddedCertificates: is not true"),
        (seb((0, leaf), pinned=1), "pinEmbeddedCertificates: is not true"),
        (seb((2, pki.root_a.certificate)), r"embeddedCertificates\[0\]: is a root"),
        (seb((3, leaf)), r"embeddedCertificates\[0\]\.type: 3 "),
        (seb((0, b"no certificate")), r"embeddedCertificates\[0\]\.certificateDataBase64: "),
        (seb((0, leaf + leaf)), r"embeddedCertificates\[0\]: is not one certificate"),
        (seb((0, leaf), key="other"), r"embeddedCertificates\[0\]: does not have exactly one"),
        (seb(), "holds no pins"),
    ):
        with pytest.raises(PinFileError, match=f"^given: .*{words}"):
            imported(data, PinFormat.SEB, EXAM)


def test_names_in_messages_are_printable() -> None:
    """A name in a file writes no line of its own and steers no terminal."""
    for data, form in (
        (trustkit(**{"a\u009b2J\nError: b": {"TSKPublicKeyHashes": [A]}}), PinFormat.TRUSTKIT),
        (plist({"TSKPinnedDomains": {"a.example": {"x\u009b2J\ny": 1}}}), PinFormat.TRUSTKIT),
        (ANDROID.replace("<trust-anchors>", "<a\u202eb/><trust-anchors>"), PinFormat.ANDROID),
        (builder(f'"a\u009bb", "sha256/{A}"'), PinFormat.OKHTTP),
    ):
        with pytest.raises(PinFileError) as caught:
            imported(data, form, EXAM)
        assert str(caught.value).isprintable()
