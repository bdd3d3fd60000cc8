"""Tests of detector.pins.target. Room: pins; pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import TargetError
from detector.model import Endpoint
from detector.pins import parse_address, parse_host, parse_rule, parse_target


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
        "exam example",
        "/etc/hosts",
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


HOSTS = {
    "exam.example.edu": "exam.example.edu",
    "EXAM.example.edu.": "exam.example.edu",
    "prüfung.example": "xn--prfung-4ya.example",
    "192.0.2.7": "192.0.2.7",
    "[2001:DB8::1]": "2001:db8::1",
}
SCHEMES = {"https://": 443, "HTTPS:/": 443, "//": 443, "wss://": 443, "imaps://": 993, "https:\\\\": 443, "": 443}
SECRET = "hunter2"  # noqa: S105 - what no message may show
PASTED = {
    "host": st.sampled_from(list(HOSTS)),
    "scheme": st.sampled_from(list(SCHEMES)),
    "user": st.sampled_from(["", f"student:{SECRET}@", f":{SECRET}@", f"a@b:{SECRET}@"]),
    "rest": st.sampled_from(["", "/", f"/login?session={SECRET}", f"?x=1#{SECRET}", "/@user", "/a:b/c"]),
    "around": st.sampled_from(
        [("", ""), ("<", ">"), ('"', '",'), (" \t", "\r\n"), ("“", "”"), ("(", ");"), ("", "\u200b")]
    ),
}


@given(port=st.none() | st.integers(1, 65535), **PASTED)
def test_reads_what_people_paste(  # noqa: PLR0913, PLR0917 - the parts of a URL
    host: str, scheme: str, user: str, rest: str, around: tuple[str, str], port: int | None
) -> None:
    """A URL with everything, in quotes or brackets, is its host and port; without a port its scheme's."""
    text = f"{around[0]}{scheme}{user}{host}{'' if port is None else f':{port}'}{rest}{around[1]}"
    assert parse_target(text) == (HOSTS[host], port or SCHEMES[scheme])


BROKEN = st.sampled_from(
    ["exam example", "exam..edu", "exam.example:99999", "exam.example:x", "[::1", "*.example", "1.2.3"]
)


@given(
    broken=BROKEN,
    scheme=st.sampled_from(["http://", "ftp://", "https://", "", "mailto:"]),
    **{k: PASTED[k] for k in ("user", "rest")},
)
def test_messages_hold_no_credentials(broken: str, scheme: str, user: str, rest: str) -> None:
    """Somebody pastes a URL with a password that cannot be read: the error spreads neither it nor the query."""
    with pytest.raises(TargetError) as caught:
        parse_target(f"{scheme}{user}{broken}{rest}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", [f"https://student:{SECRET}/2@exam.example/", f"student:a/{SECRET}@exam.example"])
def test_a_password_with_a_slash_is_not_taken_for_a_host(text: str) -> None:
    """Such a URL names another host than meant: it is refused, and neither half of the password is shown."""
    with pytest.raises(TargetError, match="password") as caught:
        parse_target(text)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://exam.example.edu/login", "http://exam.example.edu is a URL without TLS. To probe TLS on the usual"),
        ("http://exam.example.edu:8080", "name the host alone: exam.example.edu."),
        ("ws://exam.example.edu", "without TLS"),
        ("smtp://mail.example.edu", "no protocol over TLS"),
        ("jane.doe@example.edu", "'…@example.edu' is a mail address"),
        ("mailto:jane.doe@example.edu", "is a mail address"),
        ("Jane Doe <jane.doe@example.edu>", "is a mail address"),
        ("192.0.2.0/24", "is a network, not a server. `detector scan --network`"),
        ("2001:db8::/64", "is a network"),
        ("https://" + "x" * 9000, "A text of 9008 characters is too long for a URL."),
    ],
)
def test_says_what_a_wrong_target_is(text: str, said: str) -> None:
    """What is something else than a server with TLS is called by its name, and nobody's mail address is shown."""
    with pytest.raises(TargetError) as caught:
        parse_target(text)
    assert said in str(caught.value)
    assert "jane" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("exam.example:443:192.0.2.7", (("exam.example", 443), ("192.0.2.7", 443))),
        ("exam.example:8443:[2001:db8::1]", (("exam.example", 8443), ("2001:db8::1", 8443))),
        ("exam.example:443:2001:db8::1", (("exam.example", 443), ("2001:db8::1", 443))),
        ("exam.example:443:::1", (("exam.example", 443), ("::1", 443))),
        ("[::1]:443:192.0.2.7", (("::1", 443), ("192.0.2.7", 443))),
        ("exam.example:443:192.0.2.7:8443", (("exam.example", 443), ("192.0.2.7", 8443))),
        ("exam.example:443:[::1]:8443", (("exam.example", 443), ("::1", 8443))),
        ("exam.example:443:stage.example:8443", (("exam.example", 443), ("stage.example", 8443))),
        ("exam.example:443::8443", (("exam.example", 443), ("exam.example", 8443))),
        ("[::1]:443::8443", (("::1", 443), ("::1", 8443))),
        ("exam.example:443:stage.example:", (("exam.example", 443), ("stage.example", 443))),
    ],
)
def test_reads_rules_as_curl_does(rule: str, expected: tuple[tuple[str, int], tuple[str, int]]) -> None:
    """The forms of --resolve (HOST:PORT:ADDRESS) and --connect-to (HOST:PORT:HOST:PORT)."""
    assert parse_rule(rule) == expected


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "exam.example",
        "exam.example:443",
        "exam.example:443:",
        ":443:192.0.2.7:1",
        "exam.example::192.0.2.7:1",
        "exam.example:443:stage.example",
        "exam.example:443:192.0.2.7,192.0.2.8",
        "*:443:192.0.2.7",
        "+a:443:192.0.2.7",
        "exam.example:443:192.0.2.7:0",
        "exam.example:443:[::1",
        "[exam.example]:443:192.0.2.7",
        ":" * 5000,
    ],
)
def test_refuses_what_is_no_rule(rule: str) -> None:
    """Wildcards, several addresses and a name for --resolve are curl's too, and are not taken silently otherwise."""
    with pytest.raises(TargetError) as caught:
        parse_rule(rule)
    assert len(str(caught.value)) < 400


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
