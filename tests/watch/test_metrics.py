"""Metrics as Prometheus gets them: over HTTP, bounded, on loopback, and with nothing about the machine."""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import re
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import serve_middlebox, serve_origin
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from detector import Detector, Endpoint, Outcome
from detector.errors import InputError, MissingExtraError
from detector.knowledge import data_set
from detector.watch.metrics import ENDPOINTS_MAX, REQUEST_BYTES_MAX, SCRAPES_DEFAULT, WatchMetrics, parse_place, serve
from detector.watch.runner import ProbeResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World
    from detector_testing import PrivatePKI

    Settings = Callable[..., dict[str, Any]]

EXAM, LMS = "exam.example.edu", "lms.example.org"
NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Every sample by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def ask(place: tuple[str, int], request: bytes) -> bytes:
    """What is answered to these bytes, until the connection ends."""
    reader, writer = await asyncio.open_connection(*place)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_a_watch_scraped_over_http(pki: PrivatePKI, settings_of: Settings) -> None:
    """What a real watch on real sockets leaves in the metrics, read as Prometheus reads it."""
    async with serve_origin(pki.issue([EXAM, LMS])) as origin:
        where = {(EXAM, 443): origin.address, (LMS, 443): origin.address}
        async with serve_middlebox(pki.private_ca("Filter CA"), upstream=where, only_hosts={LMS}) as box:
            subject = Detector(**settings_of(proxy=box.url))
            metrics = WatchMetrics(subject.endpoints([EXAM, LMS]))
            async with serve(metrics) as place:
                assert place[0] == "127.0.0.1"
                async for event in subject.watch([EXAM, LMS], interval=0.2, duration=1, on_probe=metrics.probed):
                    metrics.reported(event)
                answer = await ask(place, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head, _, body = answer.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200")
    assert "text/plain" in head
    found = samples(body)
    assert found["tls_detector_endpoint_verdict", f"{EXAM}:443", "clean"] == 1
    assert found["tls_detector_endpoint_verdict", f"{LMS}:443", "middleware"] == 1
    assert found["tls_detector_endpoint_verdict", f"{LMS}:443", "clean"] == 0
    assert found["tls_detector_endpoint_confidence", f"{LMS}:443"] == 1
    assert found["tls_detector_endpoint_confidence", f"{EXAM}:443"] == 0
    assert found["tls_detector_network_verdict", "middleware"] == 1
    assert found["tls_detector_events_total", "appeared"] == found["tls_detector_events_total", "ended"] == 1
    probes = found["tls_detector_probes_total", "complete"]
    assert probes == found["tls_detector_probe_seconds_count",] > 2
    now = dt.datetime.now(dt.UTC).timestamp()
    assert abs(found["tls_detector_last_probe_timestamp_seconds", f"{EXAM}:443"] - now) < 60
    assert not re.search(r"\b127\.|::1|192\.168", body)  # no address, of the machine or of anything


def test_series_are_bounded(world: World) -> None:
    """However many endpoints and probes, the number of series has a bound; totals still count everything."""
    endpoints = [Endpoint(host=f"host{number}.example.org") for number in range(ENDPOINTS_MAX + 50)]
    metrics = WatchMetrics(endpoints)
    result = world.one(EXAM, [], outcome=Outcome.RESET, key_proved=False)
    for endpoint in endpoints:
        named = type(result.endpoint)(host=endpoint.host, port=443, category=endpoint.category)
        for outcome in Outcome:
            observation = type(result.observation)(outcome=outcome)
            changed = type(result)(**{**_fields(result), "endpoint": named, "observation": observation})
            metrics.probed(ProbeResult(changed, NOON, 0.1))
    found = samples(metrics.text().decode())
    per_endpoint = [key for key in found if any("host" in part for part in key[1:])]
    assert len(per_endpoint) == ENDPOINTS_MAX * 5
    assert len(found) < ENDPOINTS_MAX * 5 + 120
    assert found["tls_detector_probe_seconds_count",] == len(endpoints) * len(Outcome)


def _fields(record: Any) -> dict[str, Any]:  # noqa: ANN401 - any record
    return {name: getattr(record, name) for name in record.__struct_fields__}


def test_the_age_of_each_part_is_shown() -> None:
    """Day and horizon as Unix time, by part and name; what is no longer used is gone."""
    metrics, parts = WatchMetrics([]), data_set.shipped().parts()
    metrics.knows(parts)
    found = samples(metrics.text().decode())
    for part in parts:
        assert part.date is not None
        assert part.horizon is not None
        dated = found["tls_detector_knowledge_date_seconds", "shipped", part.kind.value]
        current = found["tls_detector_knowledge_horizon_seconds", "shipped", part.kind.value]
        assert dt.datetime.fromtimestamp(dated, dt.UTC).date() == part.date
        assert dt.datetime.fromtimestamp(current, dt.UTC).date() == part.horizon
    metrics.knows(parts[:1])
    kinds = {key[-1] for key in samples(metrics.text().decode()) if key[0] == "tls_detector_knowledge_date_seconds"}
    assert kinds == {"roots"}


def test_registries_are_apart() -> None:
    """Two watches in one process do not meet, and nothing enters the library's global registry."""

    first, second = WatchMetrics([]), WatchMetrics([])
    assert first.text()
    assert second.text()
    assert not [family for family in REGISTRY.collect() if family.name.startswith("tls_detector")]


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without prometheus-client: what is missing, and the extra that brings it."""

    def fail(_: str) -> object:
        raise ModuleNotFoundError(_)

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(MissingExtraError, match="Install the extra 'metrics'"):
        WatchMetrics([])


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", b"200"),
        (b"HEAD /metrics HTTP/1.1\r\nHost: h\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", b"405"),
        (b"\x16\x03\x01\x00\xc8not http", b""),
        (b"GET /" + b"a" * REQUEST_BYTES_MAX * 2 + b" HTTP/1.1\r\nHost: h\r\n\r\n", b""),
    ],
    ids=["query", "head", "elsewhere", "post", "tls", "too-long"],
)
async def test_requests(request_: bytes, status: bytes) -> None:
    """One path, two methods; what is not HTTP gets no answer."""
    async with serve(WatchMetrics([])) as place:
        answer = await ask(place, request_)
    assert answer.partition(b"\r\n")[0].split(b" ")[1:2] == ([status] if status else [])
    if request_.startswith(b"HEAD"):
        assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("connections", [3, SCRAPES_DEFAULT])
async def test_idle_clients_do_not_pile_up(connections: int) -> None:
    """Beyond a number of connections new ones wait until one ends; the server ends with clients hanging on it."""
    metrics = WatchMetrics([])
    async with serve(metrics, connections=connections) as place:
        idle = [await asyncio.open_connection(*place) for _ in range(connections)]
        asking = asyncio.ensure_future(ask(place, b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"))
        done, _ = await asyncio.wait([asking], timeout=0.2)
        assert not done
        idle.pop()[1].close()
        assert (await asking).startswith(b"HTTP/1.1 200 ")
        assert samples(metrics.text().decode())["tls_detector_held_scrapes_total",] == 1
        for _, writer in idle[:2]:
            writer.close()
            await writer.wait_closed()
        assert (await asking).startswith(b"HTTP/1.1 200 ")
    for reader, writer in idle[2:]:
        assert await reader.read() == b""
        writer.close()


async def test_a_place_that_is_taken(settings_of: Settings) -> None:
    """The error for a port that is in use names the port."""
    assert settings_of() is not None
    async with serve(WatchMetrics([])) as (host, port):
        with pytest.raises(InputError, match=f"{host}:{port}"):
            async with serve(WatchMetrics([]), host, port):
                pass


def test_places() -> None:
    """A port alone is on loopback; other hosts have to be named."""
    assert parse_place("9469") == ("127.0.0.1", 9469)
    assert parse_place("192.0.2.1:9469") == ("192.0.2.1", 9469)
    assert parse_place("[::1]:9469") == ("::1", 9469)


@given(text=st.text(max_size=30))
def test_any_place_is_parsed_or_refused(text: str) -> None:
    """Only the documented exception escapes, and what is accepted has a port."""
    try:
        host, port = parse_place(text)
    except InputError:
        return
    assert host
    assert 0 < port < 65536
