"""Detectors with data sets of their own: what an update brought is used wherever something is assessed or sent.

Room: tests of session. Loopback only.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from detector_testing import serve_origin
from support.stored_sets import REPOSITORY, install, part, whole

from detector import Detector, examine
from detector.errors import KnowledgeError
from detector.judge.evidence import no_machine_roots
from detector.knowledge import age
from detector.knowledge.data_set import PARTS, SHIPPED, installed, shipped
from detector.knowledge.part import HORIZONS
from detector.model import KnowledgeKind, Report, Verdict
from detector.probe.tls import client_hello
from detector.session.seams import Seams
from detector.session.session import report_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import World
    from detector_testing import PrivatePKI

    Settings = Callable[..., dict[str, Any]]

EXAM = "exam.example.edu"


def catalogued(world: World) -> bytes:
    """A catalogue that knows the key of the test PKI's issuing CA as an interceptor's."""
    (entry,) = (entry for entry in shipped().catalogue.entries if entry.id == "superfish")
    known = msgspec.to_builtins(entry)
    (fact, *_) = (fact for fact in known["facts"] if fact["field"] == "spki_sha256")
    key = world.pki.intermediate_ec.spki_sha256.hex()
    return part(KnowledgeKind.CATALOGUE, entries=[{**known, "facts": [{**fact, "value": key}]}])


async def test_two_detectors_know_different_things(
    pki: PrivatePKI, world: World, settings_of: Settings, tmp_path: Path
) -> None:
    """In one process, at one time: the same chain is genuine for one and an interceptor's for the other."""
    install(tmp_path, {**whole(), "interceptors.json": catalogued(world)})
    async with serve_origin(pki.issue([EXAM])) as origin:
        where = {(EXAM, 443): origin.address}
        verdicts: dict[str, set[tuple[Verdict, str]]] = {}
        for data in ("shipped", tmp_path, shipped(), installed(tmp_path)):
            async with Detector(**settings_of(resolve=where, data=data, clock=lambda: pki.now)) as subject:
                report = await subject.check([EXAM])
            catalogue = next(part for part in report.knowledge if part.kind is KnowledgeKind.CATALOGUE)
            verdicts.setdefault(catalogue.name, set()).add((report.verdict, report.results[0].reason))
    assert verdicts == {
        SHIPPED: {(Verdict.CLEAN, "logged")},
        REPOSITORY: {(Verdict.MIDDLEWARE, "interception-key")},
    }


def test_a_chain_from_elsewhere_is_assessed_with_the_set_that_is_given(
    pki: PrivatePKI, world: World, tmp_path: Path
) -> None:
    """`examine` takes it as `Detector` does."""
    install(tmp_path, {"interceptors.json": catalogued(world)})
    chain = pki.issue([EXAM]).chain
    reasons = [
        examine(chain, host=EXAM, data=data, roots=world.roots, logs=world.logs, at=pki.now).reason
        for data in ("shipped", tmp_path)
    ]
    assert reasons == ["logged", "interception-key"]


async def test_reports_say_which_parts_were_used(settings_of: Settings, pki: PrivatePKI, tmp_path: Path) -> None:
    """Own roots and logs by their own names, everything else by the set's; JSON reads back as it was."""
    install(tmp_path, whole())
    subject = Detector(**settings_of(data=tmp_path, clock=lambda: pki.now))
    report = await report_of(subject, (), started=pki.now)
    names = {part.kind: part.name for part in report.knowledge}
    assert names == {
        **dict.fromkeys(PARTS, REPOSITORY),
        KnowledgeKind.ROOTS: "test roots",
        KnowledgeKind.LOGS: "test logs",
    }
    assert Report.from_json(report.to_json()) == report
    own = Detector(data=tmp_path, proxy="none", seams=Seams(machine_roots=no_machine_roots))
    assert own.knowledge == installed(tmp_path).parts()


@pytest.mark.parametrize("data", ["absent", 3, b"shipped"])
def test_what_is_no_data_set_is_refused(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401 - wrong on purpose
    """At once, with the option's name."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KnowledgeError, match=r"^data: "):
        Detector(data=data, proxy="none")


class TestHellos:
    """The hellos of an update are sent, and those that cannot be written are left out."""

    @pytest.fixture
    def recorded(self) -> list[dict[str, Any]]:
        return [dict(msgspec.to_builtins(profile)) for profile in shipped().client_hellos.profiles]

    async def test_an_updated_hello_is_sent(
        self, recorded: list[dict[str, Any]], pki: PrivatePKI, settings_of: Settings, tmp_path: Path
    ) -> None:
        """A browser's next version offers other cipher suites: so does the probe, and another detector does not."""
        recorded[0]["cipher_suites"] = recorded[0]["cipher_suites"][:4]
        install(tmp_path, {"client_hellos.json": part(KnowledgeKind.CLIENT_HELLOS, profiles=recorded)})
        verdicts = []
        async with serve_origin(pki.issue([EXAM])) as origin:
            for data in (tmp_path, "shipped"):
                options = settings_of(resolve={(EXAM, 443): origin.address}, data=data, clock=lambda: pki.now)
                async with Detector(**options) as subject:
                    report = await subject.check([EXAM])
                verdicts.append(report.verdict)
                ja4 = report.results[0].observation.ja4
                assert ja4 is not None
                assert ja4.startswith("t13d04" if data is tmp_path else "t13d15")
        assert verdicts == [Verdict.CLEAN, Verdict.CLEAN]

    @pytest.mark.parametrize(
        "change",
        [
            {"key_shares": [4588, 513]},  # ML-KEM-1024, of a version to come
            {"extensions": [0, 10, 13, 43]},
            {"grease": [5]},
            {"bodies": {}},
            {"alpn": ["\xe4"]},
            {"hello": "openssl"},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_a_hello_that_cannot_be_written_is_left_out(
        self, change: dict[str, Any], recorded: list[dict[str, Any]], tmp_path: Path, settings_of: Settings
    ) -> None:
        """Nothing is sent that could not be finished, or that no server would answer."""
        recorded[0] |= change
        install(tmp_path, {"client_hellos.json": part(KnowledgeKind.CLIENT_HELLOS, profiles=recorded)})
        subject = Detector(**settings_of(data=tmp_path))
        assert subject._hello_profiles().profiles == shipped().client_hellos.profiles
        (sentence,) = subject.data.warnings
        assert "client_hellos.json: the hello of" in sentence
        assert subject.data.part(KnowledgeKind.CLIENT_HELLOS).name == SHIPPED

    def test_the_shipped_hellos_can_be_written(self) -> None:
        """What is asked of an update's is true of ours."""
        assert client_hello.unusable(shipped().client_hellos) is None


@pytest.mark.parametrize("kind", [kind for kind in PARTS if kind is not KnowledgeKind.CANARIES])
def test_the_age_of_an_updated_set_is_its_own(kind: KnowledgeKind, tmp_path: Path) -> None:
    """A report warns of a part when that is old, whichever set it is of; canaries say themselves when they expire."""
    day = dt.date(2027, 2, 28)
    install(tmp_path, whole(date=day))
    parts = Detector(data=tmp_path, proxy="none", seams=Seams(machine_roots=no_machine_roots)).knowledge
    last = dt.datetime.combine(day + HORIZONS[kind], dt.time(23), dt.UTC)
    (part,) = (part for part in parts if part.kind is kind)
    assert not part.is_past(last)
    after = last + dt.timedelta(days=1)
    assert part.is_past(after)
    assert age.describe([part for part in parts if part.is_past(after)]) in str(age.warning(parts, after))
