"""From real connections on loopback to a bundle and back: what goes in, what never does, and that it is assessed again.

Room: tests of bundle. Sockets on loopback.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import platform
import ssl
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from detector_testing import Script, serve_files, serve_middlebox, serve_origin, serve_script
from support.bundle_recordings import EXAM, KEY, LMS, SEARCH, packed, recorded, report_on, texts, verify

from detector import Detector, Endpoint, bundle
from detector.bundle import form
from detector.bundle.verification import Conclusion
from detector.errors import BundleError
from detector.judge.recorded import KeyEvidence
from detector.model import Observation, PresentedCertificate, RootOrigin
from detector.probe.mock import MockNetwork
from detector.session.follow_up import Control
from detector.session.session import observe, report_of
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from conftest import World
    from detector_testing import PrivatePKI

    from detector.bundle import Verification
    from detector.model import Report

    Settings = Callable[..., dict[str, Any]]


async def packed_by(subject: Detector, *targets: str) -> tuple[Report, bytes]:
    """What a program with a key makes of a check."""
    started = dt.datetime.now(dt.UTC)
    cases = await observe(subject, targets or None)
    named = [case.endpoint.name for case in cases] if targets else ()
    report = await report_of(subject, cases, started=started, named=named)
    return report, bundle.pack(report, cases, keys=[KEY])


def reasons(verification: Verification) -> list[tuple[str, KeyEvidence]]:
    return [(check.judged.reason, check.key) for check in verification.endpoints]


@contextlib.asynccontextmanager
async def origins(pki: PrivatePKI, *hosts: str, **options: Any) -> AsyncIterator[dict[Any, Any]]:  # noqa: ANN401 - options of serve_origin
    """Honest servers for these hosts; gives the map to where they are."""
    async with contextlib.AsyncExitStack() as stack:
        where = {}
        for host in hosts:
            origin = await stack.enter_async_context(serve_origin(pki.issue([host], key="rsa"), **options))
            where[host, 443] = origin.address
        yield where


async def test_clean_network(pki: PrivatePKI, settings_of: Settings, world: World) -> None:
    """Honest servers, by TLS 1.3: every handshake signature is verified again."""
    async with origins(pki, EXAM, LMS) as where:
        report, data = await packed_by(Detector(**settings_of(resolve=where)), EXAM, LMS)
    verification = verify(world, data)
    assert (verification.conclusion, report.verdict) == (Conclusion.HOLDS, "clean")
    assert reasons(verification) == [("logged", KeyEvidence.VERIFIED)] * 2


def as_packed(report: Report) -> Report:
    """The report without what a bundle does not say: proxy, its file, a second resolver, which hosts were named.

    Advice is left out with that: named hosts are those that are to be exempt.
    """
    place: dict[str, Any] = {"proxy": None, "proxy_file": None, "resolution": None}
    results = tuple(
        msgspec.structs.replace(
            result,
            named=False,
            advice="",
            advice_for={},
            observation=msgspec.structs.replace(result.observation, **place),
            other_observations=tuple(msgspec.structs.replace(probe, **place) for probe in result.other_observations),
        )
        for result in report.results
    )
    return msgspec.structs.replace(report, results=results)


async def test_report_comes_out_again(pki: PrivatePKI, settings_of: Settings, world: World) -> None:
    """The report assessed from the bundle is the report that was given, field for field."""
    ca = pki.private_ca("Filter CA")
    async with (
        origins(pki, EXAM, LMS, SEARCH) as where,
        serve_middlebox(ca, upstream=where, only_hosts={LMS, SEARCH}) as box,
    ):
        known = Endpoint(host=LMS, roots=("Exemplar Root A",))
        subject = Detector(**settings_of(known, proxy=f"http://127.0.0.1:{box.port}", vantage="room 12"))
        report, data = await packed_by(subject, EXAM, LMS, SEARCH)
    verification = verify(world, data)
    assert (verification.conclusion, report.confidence, report.scope) == (Conclusion.HOLDS, "proven", "selective")
    assert as_packed(verification.report) == as_packed(report)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_version": ssl.TLSVersion.TLSv1_2}, ("logged", KeyEvidence.VERIFIED)),
        ({"max_version": ssl.TLSVersion.TLSv1_2, "ciphers": "AES128-GCM-SHA256"}, ("logged", KeyEvidence.WORD)),
        (
            {
                "min_version": ssl.TLSVersion.TLSv1_1,
                "max_version": ssl.TLSVersion.TLSv1_1,
                "ciphers": "DEFAULT:@SECLEVEL=0",
            },
            ("other-hello", KeyEvidence.VERIFIED),  # no browser speaks it
        ),
    ],
    ids=["1.2", "1.2 plain RSA", "1.1"],
)
async def test_older_tls(
    options: dict[str, Any], expected: tuple[str, KeyEvidence], pki: PrivatePKI, settings_of: Settings, world: World
) -> None:
    """A ServerKeyExchange is verified again, over this ServerHello; plain RSA key exchange leaves nothing to verify."""
    async with origins(pki, EXAM, **options) as where:
        _, data = await packed_by(Detector(**settings_of(resolve=where)), EXAM)
    verification = verify(world, data)
    assert (verification.conclusion, reasons(verification)) == (Conclusion.HOLDS, [expected])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_scts_outside_the_certificate(
    version: ssl.TLSVersion, pki: PrivatePKI, settings_of: Settings, world: World
) -> None:
    """SCT list and OCSP response come out as they were sent, and so does that they could have been."""
    issued = pki.issue([EXAM], key="rsa")
    stapled = pki.intermediate_rsa.ocsp_response(issued.leaf)
    script = Script.genuine(issued, version=version, sct_list=b"\x00\x03\x00\x01\x00", ocsp_response=stapled)
    async with serve_script(script) as server:
        report, data = await packed_by(Detector(**settings_of(resolve={(EXAM, 443): server.address})), EXAM)
    verification = verify(world, data)
    seen = verification.report.results[0].observation
    assert (seen.sct_list, seen.ocsp_response, seen.scts_carried) == (script.sct_list, stapled, True)
    assert (verification.conclusion, as_packed(verification.report)) == (Conclusion.HOLDS, as_packed(report))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_replayed_chain(version: ssl.TLSVersion, pki: PrivatePKI, settings_of: Settings, world: World) -> None:
    """A replayed chain is a replayed chain again: the recorded signature is not its key's."""
    async with serve_script(Script.replay(pki.issue([EXAM]).chain, version=version)) as server:
        _, data = await packed_by(Detector(**settings_of(resolve={(EXAM, 443): server.address})), EXAM)
    verification = verify(world, data)
    assert (verification.conclusion, reasons(verification)) == (
        Conclusion.HOLDS,
        [("replayed-chain", KeyEvidence.VERIFIED)],
    )


async def test_leaf_that_is_no_certificate(pki: PrivatePKI, settings_of: Settings, world: World) -> None:
    """A leaf that nobody can parse is evidence in a bundle too."""
    script = Script.malformed(pki.issue([EXAM]).leaf[:-40])
    async with serve_script(script) as server:
        report, data = await packed_by(Detector(**settings_of(resolve={(EXAM, 443): server.address})), EXAM)
    verification = verify(world, data)
    assert (verification.conclusion, as_packed(verification.report)) == (Conclusion.HOLDS, as_packed(report))


async def test_follow_up(pki: PrivatePKI, settings_of: Settings, world: World) -> None:
    """A fetched issuer and the answer to a control request are what they were."""
    incomplete = pki.issue([EXAM], aia=("http://ca.example.com/issuing.der",))
    async with (
        serve_origin(incomplete.with_chain(incomplete.leaf)) as exam,
        serve_origin(pki.private_ca("Hotspot CA").issue(["login.hotspot.example"])) as hotspot,
        serve_files({"/issuing.der": pki.intermediate_ec.certificate, "/here": b"Sign in"}) as files,
    ):
        where = {(EXAM, 443): exam.address, (LMS, 443): hotspot.address}
        where |= {(host, 80): files.address for host in ("ca.example.com", "check.example.com")}
        control = Control("http://check.example.com/here", status=200, body=b"success\n")
        subject = Detector(**settings_of(resolve=where, offline=False, control=control, canaries=()))
        report, data = await packed_by(subject, EXAM, LMS)
    verification = verify(world, data)
    assert (verification.conclusion, as_packed(verification.report)) == (Conclusion.HOLDS, as_packed(report))
    assert [result.reason for result in report.results] == ["logged", "wrong-name"]
    assert {part.kind for part in verification.parts} >= {"portal"}


async def test_machine_root(pki: PrivatePKI, settings_of: Settings, world: World) -> None:
    """The root that the institution installed is named again, and when it came to the machine."""
    ca = pki.private_ca("School Root CA")
    installed = from_der(
        [ca.certificate, pki.private_ca("Printer CA").certificate], name="machine", origin=RootOrigin.ADDED
    )
    async with serve_middlebox(ca) as box:
        subject = Detector(
            **settings_of(
                proxy=f"http://127.0.0.1:{box.port}",
                machine_roots=lambda: installed,
                installed_at=lambda _: pki.now - dt.timedelta(days=300),
            )
        )
        report, data = await packed_by(subject, EXAM)
    verification = verify(world, data)
    assert (verification.conclusion, as_packed(verification.report)) == (Conclusion.HOLDS, as_packed(report))
    assert reasons(verification) == [("added-root", KeyEvidence.VERIFIED)]
    assert not any("Printer CA" in text for text in texts(data))


async def test_nothing_about_the_person(
    pki: PrivatePKI, settings_of: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No user, machine, folder or proxy password, whatever the report was made from."""
    home = tmp_path / "home" / "zacharias"
    home.mkdir(parents=True)
    for name in ("USER", "LOGNAME", "USERNAME", "HOME", "HOSTNAME"):
        monkeypatch.setenv(name, str(home))
    written = pki.write(home)
    (home / "campus-ca.pem").write_bytes(pki.private_ca("Campus CA").pem)
    (home / "zacharias-pins.toml").write_text(
        f'schema = 1\nname = "of zacharias"\n[[endpoint]]\nhost = "{EXAM}"\n'
        f'pins = ["{"A" * 43}="]\nprivate_roots = ["campus-ca.pem"]\n'
    )
    async with serve_middlebox(pki.private_ca("Filter CA")) as box:
        monkeypatch.setenv("HTTPS_PROXY", f"http://zacharias:hunter2@127.0.0.1:{box.port}")
        monkeypatch.setenv("NO_PROXY", "")
        subject = Detector(**settings_of(proxy="env") | {"pins": home, "roots": written.roots, "logs": written.ct_logs})
        report, data = await packed_by(subject)
    assert report.verdict == "middleware"
    assert "zacharias" in report.to_json().decode()  # the pin file's name is in the report, so there was a name to lose
    words = "\n".join(texts(data))
    assert not [secret for secret in ("zacharias", "hunter2", str(tmp_path), tmp_path.name) if secret in words]
    assert platform.node() not in words.replace('"', " ").split()


def test_every_fact_of_an_observation_has_its_place() -> None:
    """A field added to `Observation` is either evidence, or circumstance, or made again from the DER."""
    evidence = set(form.Connection.__struct_fields__) - {"answer_left_out"}
    circumstances = set(form.RouteDetails.__struct_fields__)
    where_the_client_is = {"proxy", "proxy_file", "resolution"}
    assert evidence | circumstances | where_the_client_is == set(Observation.__struct_fields__)
    assert not evidence & circumstances
    besides = {"address_given", "seen_before", "shared_pins"}
    assert set(form.Expected.__struct_fields__) - besides == set(form.OF_ENDPOINT)
    assert {*form.OF_ENDPOINT, "address", "source"} == set(Endpoint.__struct_fields__)
    assert "der" in PresentedCertificate.__struct_fields__


def test_salts_are_an_argument_for_tests(world: World, pki: PrivatePKI) -> None:
    """With fixed salts the same evidence gives the same bytes."""
    case = recorded(world, EXAM, pki.issue([EXAM]))
    report = report_on([case])
    assert bundle.pack(report, [case], salts=bytes) == bundle.pack(report, [case], salts=bytes)
    assert bundle.pack(report, [case]) != bundle.pack(report, [case])


def test_what_cannot_be_packed(world: World, pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases of another report, none, and too many are refused with what to do."""
    exam, lms = recorded(world, EXAM, pki.issue([EXAM])), recorded(world, LMS, pki.issue([LMS]))
    with pytest.raises(BundleError, match="not about the same endpoints"):
        bundle.pack(report_on([exam, lms]), [lms, exam])
    monkeypatch.setattr(form, "ENDPOINTS_MAX", 1)
    with pytest.raises(BundleError, match="1 to 1 endpoints, not 2"):
        packed(exam, lms)
    monkeypatch.undo()
    monkeypatch.setattr(form, "BUNDLE_BYTES_MAX", 1000)
    with pytest.raises(BundleError, match="larger than"):
        packed(exam)


async def test_empty_check(settings_of: Settings) -> None:
    """A check of nothing leaves no evidence to pack."""
    subject = Detector(**settings_of(dialer=MockNetwork({})))
    with pytest.raises(BundleError, match="not 0"):
        await packed_by(subject)


async def test_outage(settings_of: Settings, world: World) -> None:
    """Names that do not resolve make an inconclusive bundle that holds."""
    report, data = await packed_by(Detector(**settings_of(dialer=MockNetwork({}))), SEARCH)
    verification = verify(world, data)
    assert (verification.conclusion, as_packed(verification.report)) == (Conclusion.HOLDS, as_packed(report))
    assert json.loads(data)["format"] == form.FORMAT
