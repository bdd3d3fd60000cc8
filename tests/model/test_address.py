"""Addresses in observations: text in JSON, a host and a port for code."""

from __future__ import annotations

import pytest

from detector.model import Address, Observation, Outcome, encode


@pytest.mark.parametrize(
    ("text", "address", "ip"),
    [
        ("192.0.2.1:443", Address("192.0.2.1", 443), "192.0.2.1"),
        ("[2001:db8::1]:8443", Address("2001:db8::1", 8443), "2001:db8::1"),
        ("[fe80::1%eth0]:443", Address("fe80::1%eth0", 443), "fe80::1"),
        ("exam.example.edu:443", Address("exam.example.edu", 443), "None"),
        ("192.0.2.1", None, "None"),
        (":443", None, "None"),
        ("192.0.2.1:https", None, "None"),
        ("192.0.2.1:" + "9" * 5000, None, "None"),  # more digits than Python reads as a number
        ("", None, "None"),
        (None, None, "None"),
    ],
)
def test_the_peer_of_an_observation(text: str | None, address: Address | None, ip: str) -> None:
    """It is parsed where it is `host:port`; JSON keeps the text."""
    observation = Observation(outcome=Outcome.COMPLETE, address=text)
    assert observation.peer == address
    assert str(address and address.ip) == ip
    assert text is None or f'"address":"{text}"'.encode() in encode(observation)
