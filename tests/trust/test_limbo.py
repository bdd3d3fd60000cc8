"""Acceptance held against x509-limbo (C2SP), the field's own suite of path validation.

The corpus is not part of this repository. It is expected next to the checkout, or where DETECTOR_CORPORA says.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any, Final

import pytest

from detector.trust import hostname, paths
from detector.trust.acceptance import refusals
from detector.trust.certificate import Certificate
from detector.trust.hostname import NameMatch
from detector.trust.roots import certificates_in_pem, from_der

CORPORA: Final = Path(os.environ.get("DETECTOR_CORPORA") or Path(__file__).parents[3] / "shared" / "corpora")
LIMBO: Final = CORPORA / "x509-limbo" / "limbo.json"

if not LIMBO.is_file():
    pytest.skip("x509-limbo is not next to the checkout; DETECTOR_CORPORA may name its folder", allow_module_level=True)

CASES: Final[dict[str, dict[str, Any]]] = {
    case["id"]: case for case in json.loads(LIMBO.read_text("utf-8"))["testcases"]
}

NOT_SUPPORTED: Final = {
    "has-crl": "no revocation lists are read",
}
"""Features of the suite that acceptance does not have."""

NOW: Final = dt.datetime(2026, 6, 29, tzinfo=dt.UTC)
"""When the corpus was compiled: the moment of the cases that name none."""

_IDENTIFIERS = "no client asks for key identifiers or reads how they are written: Go, rustls-webpki, Chrome, OpenSSL"
_COMMON_NAME = "the common name is obsolete: Go, rustls-webpki, Chrome, OpenSSL, cryptography"
_SERIAL = "RFC 5280 section 4.1.2.2 asks readers to cope with it: Go, rustls-webpki, Chrome, OpenSSL"

TAKEN: Final = {
    "rfc5280::aki::leaf-missing-aki": _IDENTIFIERS,
    "rfc5280::aki::intermediate-missing-aki": _IDENTIFIERS,
    "rfc5280::aki::cross-signed-root-missing-aki": _IDENTIFIERS,
    "rfc5280::ski::root-missing-ski": _IDENTIFIERS,
    "rfc5280::ski::intermediate-missing-ski": _IDENTIFIERS,
    "webpki::aki::root-with-aki-missing-keyidentifier": _IDENTIFIERS,
    "webpki::aki::root-with-aki-authoritycertissuer": _IDENTIFIERS,
    "webpki::aki::root-with-aki-authoritycertserialnumber": _IDENTIFIERS,
    "webpki::aki::root-with-aki-all-fields": _IDENTIFIERS,
    "webpki::aki::root-with-aki-ski-mismatch": _IDENTIFIERS,
    "webpki::cn::ipv4-hex-mismatch": _COMMON_NAME,
    "webpki::cn::ipv4-leading-zeros-mismatch": _COMMON_NAME,
    "webpki::cn::ipv6-uppercase-mismatch": _COMMON_NAME,
    "webpki::cn::ipv6-uncompressed-mismatch": _COMMON_NAME,
    "webpki::cn::ipv6-non-rfc5952-mismatch": _COMMON_NAME,
    "webpki::cn::punycode-not-in-san": _COMMON_NAME,
    "webpki::cn::utf8-vs-punycode-mismatch": _COMMON_NAME,
    "webpki::cn::not-in-san": _COMMON_NAME,
    "webpki::cn::case-mismatch": _COMMON_NAME,
    "rfc5280::serial::too-long": _SERIAL,
    "rfc5280::serial::zero": _SERIAL,
    "webpki::eku::ee-anyeku": "common in private PKIs: Go, Chrome, OpenSSL",
    "webpki::eku::ee-critical-eku": "a rule for CAs: Go, rustls-webpki, Chrome, OpenSSL",
    "webpki::eku::ee-without-eku": "what `openssl x509` makes, and the suite's rfc5280 side: Go, rustls-webpki, Chrome",
    "webpki::eku::root-has-eku": "a rule for CAs; what a root says of its use is ignored: Go, rustls-webpki, Chrome",
    "rfc5280::nc::permitted-dns-match-noncritical": "BR 7.1.2.5.2 allows it, and the suite's webpki side: every client",
    "rfc5280::nc::invalid-dnsname-leading-period": "how Microsoft's CAs write them: Chrome, OpenSSL, Go",
    "rfc5280::pc::ica-noncritical-pc": "no client of TLS asks for policies: Go, Chrome, OpenSSL, cryptography",
    "rfc5280::san::underscore-dns": "hosts have such names: Go, rustls-webpki, Chrome, OpenSSL",
    "rfc5280::root-non-critical-basic-constraints": "what OpenSSL's configuration made for years: Go, Chrome, OpenSSL",
    "webpki::san::san-critical-with-nonempty-subject": "a rule for CAs: Go, rustls-webpki, Chrome, OpenSSL",
    "webpki::san::public-suffix-multi-label-wildcard-san": (
        "would need the Public Suffix List at every handshake, against a certificate that no CA issues: Go, "
        "rustls-webpki, OpenSSL, cryptography; Chrome has the list at hand"
    ),
    "webpki::san::public-suffix-private-namespace-wildcard-san": (
        "genuine certificates are like that (*.s3.amazonaws.com): Chrome, Go, rustls-webpki, OpenSSL, cryptography"
    ),
}
"""Cases that the suite wants refused and acceptance takes: why, and who takes them too."""

_CA_AS_LEAF = "BR 7.1.2.7.8, and the suite's webpki side: rustls-webpki, Firefox and cryptography refuse it too"

REFUSED: Final = {
    "pathlen::validation-ignores-pathlen-in-leaf": _CA_AS_LEAF,
    "rfc5280::ca-as-leaf": _CA_AS_LEAF,
}
"""Cases that the suite wants taken and acceptance refuses."""


def applies(case: dict[str, Any]) -> bool:
    """Whether a case is about what acceptance does: servers, and no feature that it lacks."""
    return case["validation_kind"] == "SERVER" and not NOT_SUPPORTED.keys() & set(case["features"])


def certificate(pem: str) -> Certificate:
    """The certificate in PEM, whatever it is like."""
    ((_, der),) = certificates_in_pem(pem.encode())
    return Certificate.read(der)


def is_accepted(case: dict[str, Any]) -> bool:
    """Build paths as the detector does, and ask of each whether a client takes it."""
    leaf, *intermediates = map(certificate, (case["peer_certificate"], *case["untrusted_intermediates"]))
    roots = from_der([certificate(pem).der for pem in case["trusted_certs"]], name="trusted")
    at = NOW if case["validation_time"] is None else dt.datetime.fromisoformat(case["validation_time"])
    peer, depth = case["expected_peer_name"], case["max_chain_depth"]
    if peer is not None and hostname.match(leaf, peer["value"]) is not NameMatch.MATCH:
        return False
    for path in paths.build((leaf, *intermediates), (roots,)).ending_in(roots):
        between = sum(not one.is_self_issued for one in path.certificates[1:-1])
        # The suite's own certificates live for a millennium; those that were captured bind what binds public ones.
        if (depth is None or between <= depth) and not refusals(path, at, public=case["id"].startswith("online::")):
            return True
    return False


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if applies(case)])
def test_case(name: str) -> None:
    """Every case that applies comes out as the suite has it, or is listed here with the reason."""
    case = CASES[name]
    wanted = (case["expected_result"] == "SUCCESS" or name in TAKEN) and name not in REFUSED
    assert is_accepted(case) is wanted, case["description"]


def test_nothing_else_is_left_out() -> None:
    """What does not run is clients' certificates and revocation lists; all of the rest does."""
    left_out = [case for case in CASES.values() if not applies(case)]
    assert {case["validation_kind"] for case in left_out if "has-crl" not in case["features"]} == {"CLIENT"}
    assert len(CASES) - len(left_out) >= 180


def test_deviations_are_deviations() -> None:
    """Each listed case is in the suite, applies, and has the result that it is said to have there."""
    assert {CASES[name]["expected_result"] for name in TAKEN if applies(CASES[name])} == {"FAILURE"}
    assert {CASES[name]["expected_result"] for name in REFUSED if applies(CASES[name])} == {"SUCCESS"}
