"""Tests of detector.pins.failure_report: a report gives a chain, a host and a time, and no opinion."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing.pki import to_pem
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import ChainError
from detector.pins import failure_report

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
EXAM = "exam.example.edu"


@pytest.fixture(scope="module")
def chains(pki: PrivatePKI) -> tuple[list[bytes], list[bytes]]:
    """Two chains for the exam, in DER."""
    return list(pki.issue([EXAM]).chain), list(pki.issue([EXAM]).chain)


def pem(chain: list[bytes]) -> list[str]:
    """A chain as a report has it."""
    return [to_pem(one).decode() for one in chain]


def report(**fields: object) -> bytes:
    """A report with these fields; _ stands for a hyphen."""
    given = {"hostname": EXAM, "port": 443, "date_time": "2026-11-30T11:00:00Z"} | fields
    return json.dumps({name.replace("_", "-"): value for name, value in given.items() if value is not None}).encode()


def test_the_served_chain_is_read(chains: tuple[list[bytes], list[bytes]]) -> None:
    """The chain that the client built, its pins and its conclusions change nothing."""
    served, validated = chains
    opinion: dict[str, Any] = {
        "validated_certificate_chain": pem(validated),
        "known_pins": ['pin-sha256="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="'],
        "noted_hostname": "example.org",
        "validation_result": 0,
        "include_subdomains": True,
        "effective_expiration_date": "2036-01-01T00:00:00Z",
    }
    found = failure_report.read(report(served_certificate_chain=pem(served), **opinion), now=NOW)
    assert found == failure_report.read(report(served_certificate_chain=pem(served)), now=NOW)
    assert (found.host, found.port, found.certificates) == (EXAM, 443, tuple(served))
    assert found.at == dt.datetime(2026, 11, 30, 11, tzinfo=dt.UTC)
    assert found.notes == ("Host, time and chain are what the report claims: nobody signed it.",)


def test_what_trustkit_reports(chains: tuple[list[bytes], list[bytes]]) -> None:
    """TrustKit reports the chain that it evaluated, and may give no port; both are said."""
    trustkit = report(validated_certificate_chain=pem(chains[0]), port=0, app_bundle_id="a.b", date_time=None)
    found = failure_report.read(trustkit, now=NOW)
    assert (found.certificates, found.port, found.at) == (tuple(chains[0]), 443, None)
    assert [note.split()[:3] for note in found.notes[1:]] == [
        ["The", "report", word] for word in ("gives", "gives", "has")
    ]


def test_a_time_that_is_given_takes_precedence(chains: tuple[list[bytes], list[bytes]]) -> None:
    """A user who knows better than a client's clock is not held up by it."""
    data = report(served_certificate_chain=pem(chains[0]), date_time="1970-01-01T00:00:00Z")
    assert failure_report.read(data, now=NOW, at=NOW).at == NOW


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"date_time": "2026-12-01T12:00:01Z"}, "date-time: "),
        ({"date_time": "2015-03-31T23:59:59Z"}, "date-time: "),
        ({"date_time": "2026-11-30T11:00:00"}, "date-time: .* has no offset"),
        ({"date_time": "yesterday"}, "date-time: 'yesterday' is not"),
        ({"date_time": "9" * 100}, "date-time: "),
        ({"date_time": 5}, "date-time"),
        ({"hostname": None}, "hostname"),
        ({"hostname": "*.example.edu"}, "hostname: "),
        ({"port": 65536}, "port: 65536"),
        ({"port": -1}, "port: -1"),
        ({"served_certificate_chain": []}, "validated-certificate-chain: holds no certificate"),
        ({"served_certificate_chain": ["x"]}, r"served-certificate-chain\[0\]: "),
        ({"served_certificate_chain": ["x"] * 1000}, "served-certificate-chain: holds more than"),
    ],
)
def test_refusals_name_the_field(fields: dict[str, Any], words: str) -> None:
    """A report whose claims cannot be is no evidence of anything."""
    with pytest.raises(ChainError, match=words):
        failure_report.read(report(**fields), now=NOW)


def test_one_certificate_in_each_text(chains: tuple[list[bytes], list[bytes]]) -> None:
    """Two certificates in one text leave open which the server sent."""
    with pytest.raises(ChainError, match=r"served-certificate-chain\[0\]: holds \d certificates instead of one"):
        failure_report.read(report(served_certificate_chain=["".join(pem(chains[0]))]), now=NOW)


@given(
    st.binary(max_size=100)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5).map(json.dumps).map(str.encode)
    | st.dictionaries(st.sampled_from(["hostname", "port", "date-time"]), st.text() | st.integers())
    .map(json.dumps)
    .map(str.encode)
)
def test_anything_else_is_refused(data: bytes) -> None:
    """Only the documented error comes out."""
    with pytest.raises(ChainError):
        failure_report.read(data, now=NOW)


def test_nesting_is_refused() -> None:
    """JSON may nest as deep as it likes."""
    with pytest.raises(ChainError, match="no report"):
        failure_report.read(b'{"a":' * 100_000, now=NOW)
