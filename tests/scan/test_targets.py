"""Targets as people write them: good lines, bad lines reported by number, and nothing that costs memory or raises."""

from __future__ import annotations

import io
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import TargetError
from detector.model import Category
from detector.scan import BadLine, Target, expand, read_targets
from detector.scan.targets import LINE_BYTES_MAX


def read(text: str | bytes, **how: object) -> list[Target | BadLine]:
    data = text.encode() if isinstance(text, str) else text
    return list(read_targets(io.BytesIO(data), name="t", **how))  # type: ignore[arg-type] # options of read_targets


def names(found: list[Target | BadLine]) -> list[str]:
    return [f.endpoint.name if isinstance(f, Target) else f"{f.where} bad" for f in found]


def test_lines() -> None:
    """Hosts, ports, addresses, comments, blank lines, a byte order mark and DOS line ends are what they look like."""
    lines = ("\ufeffexam.example.edu", "# all of it", "", "lms.example.org:8443 # the old one", "192.0.2.7")
    urls = ("https://lms.example.org/d2l/home", '"wss://chat.example.org:8443"', "192.0.2.7/", "exam.example.edu/24")
    assert names(read("\r\n".join((*lines, "[2001:db8::1]:8443", *urls)))) == [
        "exam.example.edu:443",
        "lms.example.org:8443",
        "192.0.2.7:443",
        "[2001:db8::1]:8443",
        "lms.example.org:443",
        "chat.example.org:8443",
        "192.0.2.7:443",
        "exam.example.edu:443",
    ]


def test_ports_and_names_to_ask_for() -> None:
    """A line without a port stands for every port given; an address for every name to ask for."""
    found = read("exam.example.edu\n192.0.2.7:8443\n", ports=(443, 993), server_names=("a.example", "b.example"))
    assert names(found) == ["exam.example.edu:443", "exam.example.edu:993", "a.example:8443", "b.example:8443"]
    assert [f.endpoint.address for f in found if isinstance(f, Target)] == [
        None,
        None,
        ("192.0.2.7", 8443),
        ("192.0.2.7", 8443),
    ]


def test_networks() -> None:
    """A network is its hosts on every port, and is not spread out before it is used."""
    assert names(read("192.0.2.0/30\n", ports=(443, 8443))) == [
        "192.0.2.1:443",
        "192.0.2.1:8443",
        "192.0.2.2:443",
        "192.0.2.2:8443",
    ]
    assert names(read("192.0.2.9/32")) == ["192.0.2.9:443"]
    first = islice(expand("10.0.0.0/8", (443,)), 2)
    assert [endpoint.host for endpoint in first] == ["10.0.0.1", "10.0.0.2"]
    with pytest.raises(TargetError, match="in use"):
        expand("2001:db8::/32", (443,))
    with pytest.raises(TargetError, match="not a network"):
        expand("10.0.0.0/99", (443,))


def test_bad_lines_are_reported_by_number_and_the_rest_is_read() -> None:
    """One line in a hundred is rubbish: each is named with its line, and no good one is lost."""
    rubbish = ["bad host", "http://exam.example.edu/", "a:99999", "\0", "x" * 10_000, "*.example.org"]
    lines = [f"h{number}.example.org" for number in range(600)]
    for at, wrong in enumerate(rubbish):
        lines[at * 100 + 7] = wrong
    found = read("\n".join(lines))
    bad = [f for f in found if isinstance(f, BadLine)]
    assert [b.where for b in bad] == [f"t:{at * 100 + 8}" for at in range(6)]
    assert len(found) - len(bad) == 594
    assert all(b.reason for b in bad)


def test_one_endless_line_costs_no_memory() -> None:
    """Ten megabytes without a line end are passed over in pieces, and the next line is read."""

    class Watched(io.BytesIO):
        largest = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            Watched.largest = max(Watched.largest, size)
            return super().readline(size)

    stream = Watched(b"x" * 10_000_000 + b"\nexam.example.edu\n")
    assert names(list(read_targets(stream, name="t"))) == ["t:1 bad", "exam.example.edu:443"]
    assert 0 < Watched.largest <= 64 * 1024


def test_longest_line_that_fits() -> None:
    """A line of exactly the limit is read, with or without a line end."""
    padding = " " * (LINE_BYTES_MAX - len("exam.example.edu"))
    assert names(read(f"exam.example.edu{padding}\nb.example")) == ["exam.example.edu:443", "b.example:443"]
    assert names(read(f"exam.example.edu{padding}")) == ["exam.example.edu:443"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_as_a_whole(encoding: str) -> None:
    """A file whose every line would be wrong is refused in one sentence."""
    with pytest.raises(TargetError, match=r"UTF-16.*Save it as UTF-8"):
        read("exam.example.edu\n".encode(encoding))


def test_table() -> None:
    """A table says more than a list: category, operator, where to connect, what to ask for."""
    text = 'host,port,address,category,operator,sni\nexam.example.edu,,192.0.2.7,exam,"Exams, Ltd",\n'
    text += ",8443,192.0.2.8,,,x.example\n"
    first, second = (f.endpoint for f in read(text, table=True) if isinstance(f, Target))
    assert (first.name, first.address, first.category) == ("exam.example.edu:443", ("192.0.2.7", 443), Category.EXAM)
    assert first.operator == "Exams, Ltd"
    assert (second.name, second.address) == ("x.example:8443", ("192.0.2.8", 8443))


def test_table_of_urls() -> None:
    """A column of URLs is a column of hosts; a port of its own takes precedence."""
    found = read("host,port\nhttps://exam.example.edu:8443/x,\nwss://lms.example.org/,444\n", table=True)
    assert names(found) == ["exam.example.edu:8443", "lms.example.org:444"]


def test_table_header_is_checked() -> None:
    """A misspelled column would change what is scanned: refused, naming it."""
    with pytest.raises(TargetError, match="'prot'"):
        read("host,prot\nx.example,1\n", table=True)
    with pytest.raises(TargetError, match="host or address"):
        read("category\nexam\n", table=True)
    assert read("", table=True) == []


def test_bad_rows() -> None:
    """Rows that are no targets are reported like lines."""
    text = 'host,port,category\nx.example,0,\n,443,\ny.example,443,nonsense\nz.example,443,"\nok.example,443,exam\n'
    assert names(read(text, table=True)) == ["t:2 bad", "t:3 bad", "t:4 bad", "t:5 bad", "ok.example:443"]


@given(st.binary(max_size=400), st.booleans())
def test_any_stream_gives_targets_or_says_why_not(data: bytes, table: bool) -> None:  # noqa: FBT001 - an example
    """Whatever the bytes, only TargetError comes out, and every target is one."""
    try:
        found = list(islice(read_targets(io.BytesIO(data), name="t", table=table), 1000))
    except TargetError:
        return
    for item in found:
        assert isinstance(item, BadLine) or (item.endpoint.host and 0 < item.endpoint.port < 65536)
