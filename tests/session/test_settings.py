"""The settings records: every option is declared once, validated when a record is made, and can be sent as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from detector import Detector, Endpoint, Expectations, InputError, NetworkSettings
from detector.errors import ProxyError, TargetError
from detector.guard import Guard
from detector.probe import Timeouts
from detector.session.follow_up import Control
from detector.session.settings import DetectorOptions, ExpectationOptions, NetworkOptions, read_options

if TYPE_CHECKING:
    from collections.abc import Callable


def test_every_field_is_an_option() -> None:
    """The TypedDicts, which type checkers read, name the fields of the records, which callers get."""
    assert set(NetworkOptions.__annotations__) == set(NetworkSettings.__struct_fields__)
    assert set(ExpectationOptions.__annotations__) == set(Expectations.__struct_fields__)
    assert set(DetectorOptions.__annotations__) == {
        *NetworkOptions.__annotations__,
        *ExpectationOptions.__annotations__,
    }


@pytest.mark.parametrize(
    ("options", "error", "field"),
    [
        ({"hello": "mosaic"}, InputError, "hello"),
        ({"concurrency": 0}, InputError, "concurrency"),
        ({"concurrency": True}, InputError, "concurrency"),
        ({"concurrency": 1.5}, InputError, "concurrency"),
        ({"route": "sideways"}, ProxyError, "route"),
        ({"route": "none"}, ProxyError, "route"),
        ({"route": "proxy", "proxy": "none"}, ProxyError, "route"),
        ({"proxy": "http://[proxy"}, ProxyError, "proxy"),
        ({"proxy": "pac:http://[proxy"}, ProxyError, "proxy file"),
        ({"proxy": "pac:https://proxy:word/"}, ProxyError, "proxy file"),
        ({"proxy": "pac:"}, ProxyError, "proxy file"),
        ({"resolve": ["exam.example.edu"]}, TargetError, "resolve: .* HOST:PORT:ADDRESS"),
        ({"resolve": {("exam.example.edu", 443): ("127.0.0.1", 0)}}, TargetError, "resolve"),
        ({"doh": "ftp://resolver.example"}, TargetError, "resolver"),
    ],
)
def test_a_value_that_is_not_allowed(options: dict[str, Any], error: type[InputError], field: str) -> None:
    """The error is raised at construction, names the field, and says what to give."""
    with pytest.raises(error, match=field) as caught:
        Detector(**options)
    assert caught.value.advice


@pytest.mark.parametrize("made", [Detector, Guard, lambda **options: read_options(options)])
def test_an_unknown_option(made: Callable[..., object]) -> None:
    """A misspelled option is refused, as Python refuses a misspelled argument."""
    with pytest.raises(TypeError, match="refuse_at"):
        made(refuse_at="certain")


@pytest.mark.parametrize("deadline", [-1.0, math.nan, "3", True])
async def test_a_deadline_that_is_not_seconds(deadline: Any, settings_of: Callable[..., dict[str, Any]]) -> None:  # noqa: ANN401 - anything
    """A check refuses it before anything is sent."""
    with pytest.raises(InputError, match="deadline"):
        await Detector(**settings_of()).check(["exam.example.edu"], deadline=deadline)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"port": 99999999}, "port 99999999"),
        ({"port": 0}, "port 0"),
        ({"host": ""}, "host"),
        ({"address": ("127.0.0.1", 65536)}, "port 65536"),
        ({"pins": (b"short",)}, "pins: a value has length 5"),
        ({"backup_pins": (bytes(32), bytes(31))}, "backup_pins"),
        ({"certificates": ("sha256/…",)}, "certificates"),
        ({"witness": (bytes(33),)}, "witness"),
    ],
)
def test_an_endpoint_that_cannot_be(fields: dict[str, Any], reason: str) -> None:
    """Ports are in range, digests and keys have 32 bytes."""
    with pytest.raises(TargetError, match=reason):
        Endpoint(**{"host": "exam.example.edu", **fields})


def test_an_endpoint_that_cannot_be_in_json() -> None:
    """A reader of JSON gets msgspec's error, with the reason and the place in the document."""
    with pytest.raises(msgspec.ValidationError, match=r"port 65536 is out of range\. .*\$\[0\]"):
        msgspec.json.decode(b'[{"host": "exam.example.edu", "port": 65536}]', type=list[Endpoint])


@pytest.mark.parametrize("phase", Timeouts.__struct_fields__)
@pytest.mark.parametrize("value", [-0.1, math.nan, "1"])
def test_timeouts_that_cannot_be(phase: str, value: Any) -> None:  # noqa: ANN401 - anything
    """Each phase of a connection has a number of seconds that is not negative."""
    with pytest.raises(InputError, match=phase):
        Timeouts(**{phase: value})


def test_the_settings_travel() -> None:
    """Another process gets the same settings as JSON, and its reader validates them."""
    settings = NetworkSettings.of(
        proxy="none",
        resolve=["exam.example.edu:443:127.0.0.1:8443"],
        control=Control("http://control.example/", body=b"x"),
    )
    assert settings.rules == {("exam.example.edu", 443): ("127.0.0.1", 8443)}
    assert msgspec.json.decode(msgspec.json.encode(settings), type=NetworkSettings) == settings
    with pytest.raises(msgspec.ValidationError, match="concurrency"):
        msgspec.json.decode(b'{"concurrency": -1}', type=NetworkSettings)


def test_records_and_options_together() -> None:
    """Keyword arguments replace fields of the records that are given."""
    network, expectations = NetworkSettings(proxy="none", vantage="room 12"), Expectations(pins=[])
    subject = Detector(network=network, expectations=expectations, vantage="room 13", offline=True)
    assert subject.network == NetworkSettings(proxy="none", vantage="room 13", offline=True)
    assert subject.pins.endpoints == ()
