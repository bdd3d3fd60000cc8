"""Fixtures for every room: one private PKI a session, and `World`, which turns chains into assessed results."""

from __future__ import annotations

import asyncio
import atexit
import datetime as dt
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio
from detector_testing import PrivatePKI
from hypothesis import settings
from support.fleet_parts import Fleet, a_fleet
from support.interceptors import Campus, open_campus
from support.profiles import examples

from detector.judge import assess
from detector.judge.evidence import Context, EndpointEvidence, no_machine_roots
from detector.knowledge import ct_logs, data_set
from detector.model import Endpoint, Observation, Outcome, Result, RootOrigin
from detector.pins import PinSet
from detector.probe.tls import key_exchange, native
from detector.scan.fleet import certificates
from detector.session.seams import Seams
from detector.trust.certificate import Certificate
from detector.trust.roots import Roots, from_der

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from detector_testing import Issued, Lab

    from detector.trust.ct_logs import LogList


def pytest_configure() -> None:
    """Say that there is no current event loop, and that generated tests have no time limit of their own.

    pytest-asyncio asks for a loop when it starts, and Python before 3.14 would then make one that nobody closes.
    Ctrl-C and a hangup must reach the programs that tests start, also when the shell that started the tests had them
    ignored.
    Hypothesis fails an example that took longer than 200 ms on the clock on the wall, which says how busy the machine
    is; where time is what matters, tests count steps.
    """
    asyncio.set_event_loop(None)
    _isolate_data_folder()
    if sys.platform != "win32":  # what is ignored, as in a background job or under nohup, children inherit
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda _number, _frame: None)  # still ignored here, the default in children
    settings.register_profile("detector", deadline=None, max_examples=examples(100))
    settings.load_profile("detector")


def _isolate_data_folder() -> None:
    """Give tests, and the programs that they start, a data folder of their own: an update on this machine is no test's.

    Workers inherit the folder of the process that starts them.
    """
    if _DATA_FOLDER not in os.environ:
        folder = tempfile.mkdtemp(prefix="detector-data-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ[_DATA_FOLDER] = os.environ["XDG_DATA_HOME"] = folder


_DATA_FOLDER: Final = "DETECTOR_TESTS_DATA"


CORE: Final = {
    *(
        "aio",
        "audit",
        "bundle",
        "exam",
        "golden",
        "guard",
        "history",
        "judge",
        "knowledge",
        "locate",
        "model",
        "origin",
    ),
    *("pins", "probe", "report", "session", "trust", "witness"),
}
"""Rooms whose tests mostly run in one process; those of the others start programs, again and again."""
MANY_WORLDS: Final = {"test_properties.py", "test_whole_table.py"}
"""Files of these rooms that try thousands of worlds: once a run is enough."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what every combination of versions must pass."""
    here = Path(__file__).parent
    for item in items:
        room = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        if room in CORE and item.path.name not in MANY_WORLDS and item.get_closest_marker("lab") is None:
            item.add_marker(pytest.mark.core)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a case of bytes by its argument: many hold fresh keys, and all workers must collect the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def no_public_canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests stay on loopback: a follow-up has the canaries that a test gives it, and no shipped ones."""
    monkeypatch.setattr("detector.session.settings.known_canaries", lambda _: ())


@pytest.fixture(params=["with ML-KEM", "without ML-KEM"])
def either_cryptography(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """What is true of a probe is true without ML-KEM, too; returns whether this `cryptography` has it."""
    if request.param == "without ML-KEM":
        monkeypatch.setattr(native, "has_ml_kem", lambda: False)
    return request.param == "with ML-KEM" and key_exchange.has_ml_kem()


@pytest.fixture(scope="session")
def pki() -> PrivatePKI:
    return PrivatePKI.create()


class World:
    """An assessed world without a network: what the pure rooms see."""

    def __init__(self, pki: PrivatePKI) -> None:
        self.pki = pki
        self.roots: Roots = from_der([pki.root_a.certificate, pki.root_b.certificate], name="test roots")
        self.logs: LogList = ct_logs.parse(pki.ct_log_list_json(), name="test logs")

    def context(
        self,
        at: dt.datetime | None = None,
        machine: Sequence[bytes] = (),
        *,
        origin: RootOrigin = RootOrigin.ADDED,
        **more: Any,  # noqa: ANN401 - fields of Context
    ) -> Context:
        """What to assess against; `machine` are roots that came to this machine as `origin` says."""
        installed = from_der(machine, name="machine", origin=origin)
        known: dict[str, Any] = {
            "data": data_set.shipped(),
            "roots": self.roots,
            "logs": self.logs,
            "machine_roots": lambda: installed,
            **more,
        }
        return Context(at=at or self.pki.now, **known)

    def observed(self, presented: Issued | Sequence[bytes], **seen: Any) -> Observation:  # noqa: ANN401 - fields of Observation
        """One connection on which this chain was presented and its key proved, unless `seen` says otherwise."""
        chain = presented if isinstance(presented, (list, tuple)) else presented.chain  # type: ignore[union-attr] # Issued
        facts: dict[str, Any] = {"outcome": Outcome.COMPLETE, "key_proved": True, "scts_carried": True, **seen}
        return Observation(chain=tuple(Certificate.read(c).presented() for c in chain), **facts)

    def case(  # noqa: PLR0913 - evidence is made of these
        self,
        host: str,
        presented: Issued | Sequence[bytes],
        *,
        key_proved: bool = True,
        outcome: Outcome = Outcome.COMPLETE,
        at: dt.datetime | None = None,
        machine: Sequence[bytes] = (),
        context: Context | None = None,
        seen: Mapping[str, Any] = MappingProxyType({}),
        others: Sequence[Observation] = (),
        **expected: Any,  # noqa: ANN401 - fields of Endpoint
    ) -> EndpointEvidence:
        """One endpoint that presented this chain. `seen` are facts of the observation, `others` further ones."""
        observation = self.observed(presented, **{"key_proved": key_proved, "outcome": outcome, **seen})
        endpoint = Endpoint(host=host, **expected)
        return EndpointEvidence(endpoint, observation, context or self.context(at, machine), others=others)

    def judge(self, *cases: EndpointEvidence) -> list[Result]:
        """The results of a network of these cases."""
        return list(assess.assess_all(cases))

    def one(self, host: str, presented: Issued | Sequence[bytes], **details: Any) -> Result:  # noqa: ANN401 - as `case`
        """The result of one endpoint alone."""
        return self.judge(self.case(host, presented, **details))[0]


@pytest.fixture(scope="session")
def world(pki: PrivatePKI) -> World:
    return World(pki)


@pytest.fixture(scope="session")
def settings_of(world: World) -> Callable[..., dict[str, Any]]:
    """Keyword arguments for a `Detector` that trusts the test PKI and nothing of this machine."""

    def settings(*endpoints: Endpoint, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - options of Detector, and seams
        seams = {name: more.pop(name) for name in Seams._fields if name in more}
        return {
            "pins": PinSet(name="test", endpoints=endpoints),
            "roots": world.roots,
            "logs": world.logs,
            "proxy": "none",
            "seams": Seams(**{"machine_roots": no_machine_roots, **seams}),
            "offline": True,
            **more,
        }

    return settings


@pytest_asyncio.fixture
async def campus(network_lab: Lab, pki: PrivatePKI, tmp_path: Path) -> AsyncIterator[Campus]:
    """Four honest hosts in a network lab; for tests/lab."""
    async with open_campus(network_lab, pki, tmp_path) as opened:
        yield opened


@pytest.fixture
def no_proxy_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment sets no proxy."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fleet_folder(tmp_path: Path) -> Path:
    """Certificates of a fleet; for tests/fleet."""
    certificates.write(tmp_path / "tls", hosts=["127.0.0.1"], now=dt.datetime.now(dt.UTC))
    return tmp_path / "tls"


@pytest_asyncio.fixture
async def fleet(fleet_folder: Path) -> AsyncIterator[Fleet]:
    """A fleet on loopback, with a scheduler and no worker yet; for tests/fleet."""
    async with a_fleet(fleet_folder) as running:
        yield running


@pytest.fixture
def fleet_trust(pki: PrivatePKI, tmp_path: Path) -> tuple[str, ...]:
    """What the scans of a fleet judge by; for tests/fleet."""
    written = pki.write(tmp_path)
    return "--roots", str(written.roots), "--ct-logs", str(written.ct_logs), "--proxy", "none", "--offline"
