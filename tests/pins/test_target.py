"""Tests of detector.pins.target. Room: pins; pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import TargetError
from detector.model import Endpoint
from detector.pins import parse_address, parse_host, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("exam.example.edu", ("exam.example.edu", 443)),
        ("EXAM.Example.edu.:8443", ("exam.example.edu", 8443)),
        ("localhost:1", ("localhost", 1)),
        ("192.0.2.7:65535", ("192.0.2.7", 65535)),
        ("2001:DB8:0::1", ("2001:db8::1", 443)),
        ("[2001:db8::1]", ("2001:db8::1", 443)),
        ("[2001:db8::1]:8443", ("2001:db8::1", 8443)),
        ("under_score.example", ("under_score.example", 443)),
        ("prüfung.example:444", ("xn--prfung-4ya.example", 444)),
    ],
)
def test_reads_targets_as_people_write_them(text: str, target: tuple[str, int]) -> None:
    """Names, literals and ports come out in one canonical form."""
    assert parse_target(text) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":443",
        "https://exam.example.edu/",
        "exam.example.edu/path",
        "exam example",
        " exam.example",
        "*.example.edu",
        "a..b",
        "-a.example",
        "a" * 64 + ".example",
        "a." * 130 + "example",
        "x" * 5000,
        "1.2.3",
        "256.1.1.1",
        "host:",
        "host:0",
        "host:65536",
        "host:+1",
        "host:٤٤٣",
        "[::1",
        "[::1]:",
        "[::1]443",
        "[exam.example]:443",
        "fe80::1%eth0",
        "1:2:3",
        "ex\x00am",
        "ä" * 300,
        "\ud800.example",
    ],
)
def test_refuses_what_is_no_target(text: str) -> None:
    """Each wrong text is refused with a sentence and advice, never passed on to a resolver."""
    with pytest.raises(TargetError) as caught:
        parse_target(text)
    assert caught.value.advice
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text", ["https://student:hunter2@exam.example/", "student:hunter2@exam.example", "a:hunter2@b:c"]
)
def test_messages_hold_no_credentials(text: str) -> None:
    """Somebody pastes a URL with a password: the error must not spread it."""
    with pytest.raises(TargetError) as caught:
        parse_target(text)
    assert "hunter2" not in str(caught.value)


def test_address_takes_the_port_it_is_given() -> None:
    """An address without a port means the endpoint's own port, not 443."""
    assert parse_address("192.0.2.1", port=8443) == ("192.0.2.1", 8443)
    assert parse_address("192.0.2.1:9", port=8443) == ("192.0.2.1", 9)


@given(st.text(max_size=40) | st.text(alphabet="a1.:[]-_%@/ ", max_size=30))
def test_only_target_error_escapes_and_results_are_stable(text: str) -> None:
    """Any text is either refused as documented or read into a host that reads back as itself."""
    try:
        host, port = parse_target(text)
    except TargetError:
        return
    assert parse_host(host) == host
    assert parse_target(Endpoint(host=host, port=port).name) == (host, port)
