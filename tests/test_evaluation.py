"""The evaluation: folders of chains, generated families, baselines, and the page. No network but loopback."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import serve_middlebox, serve_origin
from detector_testing.pki import to_pem

from detector.judge.table import RULE_OF
from detector.knowledge import data_set
from detector.knowledge.known_roots import date_of
from detector.model import Reason, RootOrigin
from evaluation import (
    ages,
    baselines,
    corpora,
    engines,
    honest,
    innocent,
    limits,
    material,
    ours,
    page,
    past,
    portal_detector,
    scenarios,
)
from evaluation import command as evaluate
from evaluation.lab import ALONE, NETWORK, PINNED, STATED, Lab, dn, roots_of

ROOT = Path(__file__).resolve().parents[1]

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector_testing import Issued, PrivatePKI

    from evaluation.material import Scene

    Run = Callable[..., tuple[int, str]]

EXAM, LMS = "exam.example.edu", "lms.example.org"


def limbo(pki: PrivatePKI, host: str, issued: Issued) -> str:
    """A capture in x509-limbo's form."""
    pem = [to_pem(der).decode() for der in issued.chain]
    content = {
        "expected_peer_name": {"kind": "DNS", "value": host},
        "peer_certificate": pem[0],
        "untrusted_intermediates": pem[1:],
        "validation_time": pki.now.isoformat(),
    }
    return json.dumps(content)


def forge(pki: PrivatePKI, host: str) -> Issued:
    """A leaf, sent alone, with the mark of a product that forges."""
    ca = pki.private_ca(dn(COMMON_NAME="mitmproxy", ORGANIZATION_NAME="mitmproxy"), leaf_key_is_ca_key=True)
    return ca.issue([host])


@pytest.fixture
def folder(tmp_path: Path, pki: PrivatePKI) -> Path:
    """Two captures of one genuine site, one forged leaf of another, and a suite that is no capture."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(2):
        (folder / f"exam_{number}.json").write_text(limbo(pki, EXAM, pki.issue([EXAM])), "utf-8")
    pair = {"role": "forged", "not_before": pki.now.isoformat(), "pem": to_pem(forge(pki, LMS).leaf).decode()}
    (folder / "pairs.json").write_text(json.dumps({"pairs": [pair]}), "utf-8")
    (folder / "limbo.json").write_text(json.dumps({"version": 1, "testcases": [{}]}), "utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path, pki: PrivatePKI, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the script with the test PKI as the public one: exit code and output."""
    written = pki.write(tmp_path)

    def run(*arguments: object) -> tuple[int, str]:
        given = [*map(str, arguments), "--roots", str(written.roots), "--ct-logs", str(written.ct_logs)]
        try:
            code = evaluate.main(given)
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


class TestFolder:
    def test_right_answers_end_with_zero(self, folder: Path, run: Run) -> None:
        """Genuine chains are clean, without pins and with those of the other capture; a forged leaf is accused."""
        code, output = run(folder)
        assert code == 0
        assert "3 chains from" in output
        lines = [line.split() for line in output.splitlines()]
        assert ["no", "pins", "genuine", "clean", "logged", "2"] in lines
        assert ["pins", "of", "another", "date", "genuine", "clean", "pinned", "2"] in lines
        assert ["no", "pins", "forged", "middleware", "probable", "1"] in lines
        assert "wrong: 0" in output

    def test_false_accusation_is_listed(self, folder: Path, run: Run, pki: PrivatePKI) -> None:
        """A chain that the folder calls genuine and we call probable is wrong, by its file's name."""
        (folder / "accused.json").write_text(limbo(pki, LMS, forge(pki, LMS)), "utf-8")
        code, output = run(folder)
        assert code == 1
        assert "wrong: 1\n  accused.json: middleware probable, product-mark, no pins" in output

    def test_miss_is_listed(self, folder: Path, run: Run, pki: PrivatePKI) -> None:
        """A leaf that the folder calls forged and we do not call middleware is wrong."""
        genuine = pki.issue([LMS], intermediate=pki.root_b)  # one certificate is all this form has room for
        pair = {"role": "forged", "not_before": pki.now.isoformat(), "pem": to_pem(genuine.leaf).decode()}
        (folder / "pairs.json").write_text(json.dumps({"pairs": [pair]}), "utf-8")
        code, output = run(folder)
        assert code == 1
        assert "wrong: 1\n  pairs.json#0: clean logged, logged, no pins" in output

    def test_doubt_is_listed_and_is_not_wrong(self, folder: Path, run: Run, pki: PrivatePKI) -> None:
        """Genuine chains that are not cleared are listed with the reason and the alternatives."""
        (folder / "alone.json").write_text(limbo(pki, LMS, pki.self_signed([LMS])), "utf-8")
        code, output = run(folder)
        assert code == 0
        assert "alone.json: middleware possible, private-chain, no pins; alternatives: self-signed-origin" in output

    def test_pins_that_do_not_fit_are_counted(self, folder: Path, run: Run, pki: PrivatePKI) -> None:
        """A capture below another CA is possible with pins of the first two, and they with pins of it."""
        (folder / "rotated.json").write_text(limbo(pki, EXAM, pki.issue([EXAM], key="rsa")), "utf-8")
        code, output = run(folder)
        assert code == 0
        assert "  pins of another date: middleware possible, pin-mismatch, 3 chains" in output

    def test_nothing_is_learned_from_what_no_client_takes(self, tmp_path: Path, run: Run, pki: PrivatePKI) -> None:
        """Two captures of a self-signed server give no pins to each other."""
        folder = tmp_path / "own"
        folder.mkdir()
        for number in range(2):
            (folder / f"{number}.json").write_text(limbo(pki, EXAM, pki.self_signed([EXAM])), "utf-8")
        code, output = run(folder)
        assert code == 0
        assert "pins of another date" not in output

    def test_served_chain_in_der(self, folder: Path, run: Run, pki: PrivatePKI) -> None:
        """Numbered DER files are one chain in the order of their numbers."""
        for number, der in enumerate(pki.issue([LMS]).chain, 1):
            (folder / f"lms_{number}.crt").write_bytes(der)
        code, output = run(folder)
        assert code == 0
        assert "4 chains from" in output

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("other.json", "{}"),
            ("list.json", "[]"),
            ("broken.json", "{"),
            ("no_pem.json", '{"pairs": [{"role": "genuine", "not_before": "2026-01-01T00:00:00Z", "pem": "x"}]}'),
            ("no_role.json", '{"pairs": [{}]}'),
            ("half.json", '{"peer_certificate": "x"}'),
            ("unnumbered.crt", "x"),
            ("garbage_1.crt", "x"),
        ],
    )
    def test_unusable_file_is_named(self, name: str, content: str, folder: Path, run: Run) -> None:
        """A file in no known form ends with 2 and its name, not with a traceback."""
        (folder / name).write_text(content, "utf-8")
        code, output = run(folder)
        assert code == 2
        assert name in output

    def test_nothing_to_judge(self, tmp_path: Path, run: Run) -> None:
        """No folder, a file in its place, and an empty one each have an answer of their own."""
        (tmp_path / "empty").mkdir()
        assert run() == (2, run()[1])
        assert "give a folder of chains, or --lab" in run()[1]
        assert "not a folder" in run(tmp_path / "absent")[1]
        assert "no chain below it" in run(tmp_path / "empty")[1]


@pytest.fixture(scope="module")
def lab(pki: PrivatePKI) -> Lab:
    """The world of the generated families."""
    return Lab(pki)


class TestPast:
    def test_newest_release_of_the_day(self) -> None:
        """The certifi of a day is the newest one of then; before all of them, the oldest."""
        assert past.version_of(dt.date(2024, 2, 2)) == "2024.2.2"
        assert past.version_of(dt.date(2024, 6, 1)) == "2024.2.2"
        assert past.version_of(dt.date(2010, 1, 1)) == data_set.shipped().known_roots.versions[0]

    @pytest.mark.parametrize("day", [dt.date(2018, 4, 16), dt.date(2024, 3, 1), dt.date(2025, 11, 11)])
    def test_data_sets_of_the_time(self, day: dt.date) -> None:
        """A root is current from its first release to its removal and retired from then on; nothing later is known."""
        then, shipped = past.as_of(day), data_set.shipped()
        known, released = shipped.known_roots.roots, date_of(past.version_of(day)) or day
        public = then.public_roots()
        carried = {root.sha256 for root in known if (date_of(root.first_seen) or day) <= released}
        current = {root.sha256 for root in known if root.sha256 in carried and root.is_current(released)}
        assert {one.hex() for one in public.by_sha256} == current
        assert {root.sha256 for root in then.known_roots.roots} == carried
        assert public.keys | public.retired.keys == then.known_roots.keys
        assert (public.date, len(public.unconfirmed), then.warnings) == (released, 0, [])
        logs, as_of = then.logs, shipped.logs.as_of(day)
        assert (logs.date, logs.logs.keys(), logs.untrusted.keys()) == (day, as_of.logs.keys(), as_of.untrusted.keys())
        assert [logs.logs[one].retired for one in logs.logs] == [as_of.logs[one].retired for one in logs.logs]
        listed = [since for serials in then.revocations.serials.values() for since in serials.values()]
        assert max(listed, default=day) <= day
        every = [since for serials in shipped.revocations.serials.values() for since in serials.values()]
        assert len(listed) == sum(since <= day for since in every)

    def test_stores_of_a_machine(self, pki: PrivatePKI) -> None:
        """An old store adds nothing; a fresh one has the roots that came since, shipped or of unknown origin."""
        old, new = (roots_of(*cas) for cas in ((pki.root_a,), (pki.root_a, pki.root_b)))
        then, now = dt.date(2024, 1, 1), dt.date(2025, 1, 1)
        knowledge = past.Knowledge(
            lambda day: old if day == then else new, lambda _: data_set.shipped().logs, "", "", {}
        )
        stores = knowledge.stores(then, now)
        keys = [[root.certificate.spki_sha256 for root in store.roots] for store in stores]
        assert keys == [[], [pki.root_b.spki_sha256], [pki.root_b.spki_sha256]]
        assert [store.roots[0].origin for store in stores[1:]] == [RootOrigin.SHIPPED, RootOrigin.UNKNOWN]

    def test_captures_are_shown_to_old_copies(self, folder: Path, pki: PrivatePKI, lab: Lab) -> None:
        """Genuine captures are met by copies of each age, with what those knew; forged ones are not."""
        current = roots_of(pki.root_a, pki.root_b, date=pki.now.date())
        before = roots_of(pki.root_a, date=(pki.now - dt.timedelta(days=400)).date())
        knowledge = past.Knowledge(
            lambda day: current if day == pki.now.date() else before, lab.logs.as_of, "", "", {"a year old": 365}
        )
        scenes = list(corpora.scenes(list(corpora.samples(folder)), knowledge))
        old = [scene for scene in scenes if scene.group == corpora.GENUINE_TO_OLD_COPIES]
        assert {scene.setting for scene in old} == {"a year old", "a year old, updated"}
        assert all((scene.public is current) == scene.setting.endswith(past.UPDATED) for scene in old)
        assert all(scene.items[0].truth is material.Truth.GENUINE for scene in old)
        assert len(old) == 2 * 2 * 2 * 3  # captures, updated or not, with roots stated or not, on three machines
        replies = [one for scene in old for one in ours.run(scene)]
        assert not any(one.wrong for one in replies)


@pytest.fixture(scope="module")
def forged(lab: Lab) -> list[Scene]:
    """Every engine in every setting."""
    return list(engines.scenes(lab))


NOT_PROVEN = {
    "one certificate for everyone",  # for another name: no client that checks names is decrypted
    "copied SCTs, issuer left out, AIA",  # what a server that forgot its intermediate presents
    "copied SCTs and AIA in a real CA's name, issuer left out",
}
"""Engines that are not proven although the endpoint's identity is public."""


class TestFamilies:
    def test_none_is_assessed_wrongly(self, lab: Lab) -> None:
        """No false accusation at probable or above and no miss, in any family outside the limits."""
        replies = [one for family in evaluate.FAMILIES for scene in family.scenes(lab) for one in ours.run(scene)]
        assert {one.truth.value for one in replies} == {"genuine", "intercepted", "another server"}
        assert [(one.name, one.setting, one.detail) for one in replies if one.wrong] == []

    def test_every_engine_is_met_by_what_is_known(self, lab: Lab, forged: list[Scene]) -> None:
        """Where the endpoint's identity is public every engine is proven, but for three that are named above."""
        settings: dict[str, set[str]] = {}
        for scene in forged:
            settings.setdefault(scene.name, set()).add(scene.setting)
        everywhere = {ALONE, STATED, PINNED, NETWORK, engines.CANARIES, engines.THE_CANARIES}
        assert {engine.name for engine in engines.engines(lab)} == set(settings)
        assert all(met >= everywhere for met in settings.values())
        for setting in (STATED, PINNED):
            replies = [one for scene in forged if scene.setting == setting for one in ours.run(scene)]
            assert {one.name for one in replies if one.detail != "middleware proven"} == NOT_PROVEN

    def test_canaries_that_are_intercepted_alike_prove_it(self, forged: list[Scene]) -> None:
        """The follow-up's canaries are proven wherever an endpoint of public identity is."""
        scenes = [scene for scene in forged if scene.setting == engines.THE_CANARIES]
        replies = [one for scene in scenes for one in ours.run(scene)]
        assert {one.name for one in replies if one.detail != "middleware proven"} == NOT_PROVEN

    def test_company_is_not_counted(self, forged: list[Scene]) -> None:
        """Canaries alongside change what is replies of an endpoint and are no questions of their own."""
        scene = next(s for s in forged if (s.name, s.setting) == ("sslsplit", engines.CANARIES))
        alone = scene._replace(company=())
        assert [one.detail for one in ours.run(scene)] == ["middleware proven"]
        assert [one.detail for one in ours.run(alone)] == ["middleware possible"]

    def test_limits_are_wrong_exactly_where_they_say(self, lab: Lab) -> None:
        """Each explained world is wrong in the settings it names, and in no other."""
        for world in limits.limits(lab):
            wrong = {one.setting for scene in world.scenes for one in ours.run(scene) if one.wrong}
            assert wrong == world.wrong, world.name
            assert wrong, world.name
            assert world.why.endswith("."), world.name

    def test_limit_that_changed_fails(self, lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
        """A world that is no longer wrong as it says is reason to fail, by its name."""
        world = next(limits.limits(lab))
        replies = [one for scene in world.scenes for one in ours.run(scene)]
        assert evaluate.print_lab(replies, [world]) == []
        assert evaluate.print_lab(replies, [world._replace(wrong=frozenset())]) == [world.name]
        assert (
            f"no longer wrong in the settings that evaluation/limits.py names: {world.name}" in capsys.readouterr().out
        )

    def test_portal_is_neither_to_be_accused_nor_cleared(self) -> None:
        """What answers in a host's place before sign-in: both conclusions are wrong, possible is not."""
        truth, answer = material.Truth.ANOTHER_SERVER, material.Answer

        def replies(what: Any) -> Any:  # noqa: ANN401 - enums of the script
            return material.Reply("g", "n", "s", "h", "m", truth, what)

        assert [replies(what).wrong for what in answer] == [True, False, False, True]


def answers_to(scene: Scene) -> dict[str, set[str]]:
    """What the baselines answer, by method."""
    found: dict[str, set[str]] = {}
    for one in baselines.run(scene):
        found.setdefault(one.method, set()).add(one.answer.value)
    return found


class TestBaselines:
    def test_ordinary_server(self, lab: Lab) -> None:
        """All say clean of a genuine pinned server; without pins those that need them say nothing."""
        issued = lab.genuine(EXAM)
        truth = material.Truth.GENUINE
        pinned = lab.scene("g", "n", "s", lab.item(EXAM, issued, truth, pinned=[issued]))
        assert set(map(tuple, answers_to(pinned).values())) == {("clean",)}
        bare = answers_to(lab.scene("g", "n", "s", lab.item(EXAM, issued, truth)))
        assert [bare[name] for name in ("leaf hash", "SPKI pin, leaf", "SPKI pin, any")] == [{"no answer"}] * 3

    def test_appended_chain_fools_pins_of_any_certificate(self, forged: list[Scene]) -> None:
        """The genuine chain behind a forged leaf satisfies a check of any certificate, and no other."""
        scene = next(s for s in forged if s.name == "mitmproxy, upstream chain appended" and s.setting == PINNED)
        found = answers_to(scene)
        assert found["SPKI pin, any"] == {"clean"}
        assert found["SPKI pin, leaf"] == found["leaf hash"] == found["certifi"] == {"accused"}
        assert found["issuer keywords"] == {"accused"}
        assert found["Firefox rule"] == {"no answer"}
        assert found["OS store"] == {"clean"}  # the institution installed its CA

    def test_same_unknown_issuer_on_a_second_host(self, lab: Lab, forged: list[Scene]) -> None:
        """Firefox's rule accuses on unrelated hosts and not on hosts of one operator."""
        scenes = {(s.name, s.setting): s for s in (*forged, *innocent.scenes(lab))}
        assert answers_to(scenes["sslsplit", NETWORK])["Firefox rule"] == {"accused"}
        assert answers_to(scenes["sslsplit", engines.CANARIES])["Firefox rule"] == {"accused"}
        assert answers_to(scenes["one institution, many names", "one domain"])["Firefox rule"] == {"no answer"}

    def test_unreadable_leaf_is_not_valid(self, lab: Lab) -> None:
        """What OpenSSL does not load is invalid to the stores and no answer to Firefox's rule."""
        genuine = lab.genuine(EXAM)
        item = lab.item(EXAM, genuine.with_chain(b"\x30\x00"), material.Truth.INTERCEPTED)
        found = answers_to(lab.scene("g", "n", "s", item))
        assert found["certifi"] == found["OS store"] == {"accused"}
        assert found["Firefox rule"] == found["issuer keywords"] == {"no answer"}

    def test_name_and_dates_count(self, lab: Lab) -> None:
        """A store check accuses an expired certificate and one for another name, genuine or not."""
        scenes = {(s.name, s.setting): s for s in honest.scenes(lab)}
        for name in ("expired", "wrong virtual host"):
            assert answers_to(scenes[name, ALONE])["certifi"] == {"accused"}

    def test_unfinished_handshake_is_no_answer(self, lab: Lab) -> None:
        """Programs get the chain from a finished handshake; without one they say nothing."""
        item = lab.item(EXAM, lab.genuine(EXAM), material.Truth.GENUINE)
        unproved = item._replace(observation=material.observe(item.chain, key_proved=False))
        assert set(map(tuple, answers_to(lab.scene("g", "n", "s", unproved)).values())) == {("no answer",)}

    def test_worst_answer_counts(self) -> None:
        """Of several answers to one question the worst for its truth is kept."""
        answer, truth = material.Answer, material.Truth

        def replies(of: Any, what: Any) -> Any:  # noqa: ANN401 - enums of the script
            return material.Reply("g", "n", "s", "h", "m", of, what)

        for of, worst, others in (
            (truth.GENUINE, answer.ACCUSED, (answer.CLEAN, answer.POSSIBLE, answer.NOTHING)),
            (truth.INTERCEPTED, answer.CLEAN, (answer.ACCUSED, answer.POSSIBLE, answer.NOTHING)),
        ):
            asked = [replies(of, what) for what in (*others, worst)]
            assert [one.answer for one in material.worst(asked)] == [worst]
            assert [one.answer for one in material.worst(reversed(asked))] == [worst]


class TestLive:
    async def test_middlebox_and_origin(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        """A live probe has the detector's result and what the baselines need, and resolves only loopback."""
        asked: list[object] = []
        resolve = socket.getaddrinfo

        def resolve_loopback(host: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - socket's signature
            asked.append(host)
            if host not in {"127.0.0.1", b"127.0.0.1"}:
                raise socket.gaierror(socket.EAI_NONAME, "nothing but loopback is asked for here")
            return resolve(host, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", resolve_loopback)
        issued = lab.pki.issue([EXAM])
        truth = material.Truth
        async with (
            serve_origin(issued) as origin,
            serve_middlebox(lab.pki.private_ca(), mode="reverse", upstream={(EXAM, 443): origin.address}) as box,
        ):
            world = scenarios.World(lab, {EXAM: issued}, {(EXAM, 443): origin.address})
            await world.probe("g", "direct", scenarios.Seen({EXAM: truth.GENUINE}, world.where))
            await world.probe("g", "box", scenarios.Seen({EXAM: truth.INTERCEPTED}, {(EXAM, 443): box.address}))
        replies = [one for scene in world.scenes for one in ours.run(scene)]
        assert [one.detail for one in replies] == [
            "clean logged",
            "clean logged",
            "clean pinned",
            "middleware possible",
            "middleware proven",
            "middleware proven",
        ]
        assert answers_to(world.scenes[5])["SPKI pin, leaf"] == {"accused"}
        assert set(asked) <= {"127.0.0.1", b"127.0.0.1"}


class TestPackage:
    async def test_answers_of_the_driver(self, lab: Lab, tmp_path: Path) -> None:
        """A verdict line becomes an answer; an endpoint without pins is not asked; a dead driver is an error."""
        echo = "import json,sys\nfor line in sys.stdin:\n print(json.dumps({'verdict': 'CAPTIVE'}), flush=True); break"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", echo, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        asked = portal_detector.Driver(process, tmp_path)
        issued = lab.genuine(EXAM)
        pinned = lab.item(EXAM, issued, material.Truth.GENUINE, pinned=[issued])
        scene = lab.scene("g", "n", "s", pinned)
        bare = lab.item(EXAM, issued, material.Truth.GENUINE)
        assert await asked.ask(scene, bare, 1) is material.Answer.NOTHING
        assert await asked.ask(scene, pinned, 1) is material.Answer.ACCUSED
        await process.wait()
        with pytest.raises(portal_detector.NotRunError, match="ended before it answered"):
            await asked.ask(scene, pinned, 1)
        if process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(ConnectionError):
                await process.stdin.wait_closed()

    def test_page_says_when_it_was_not_run(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without uv the method is left out, with the reason, and nothing else fails."""
        monkeypatch.setattr("shutil.which", lambda _: None)
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        scene = next(iter(honest.scenes(lab)))
        notes: list[str] = []
        given = evaluate.Material([], [scene], [], [], scene)
        replies = evaluate.answers(given, with_baselines=True, quick=False, notes=notes)
        assert portal_detector.METHOD not in {one.method for one in replies}
        assert "there is no uv" in notes[0]


class TestUpdates:
    def test_what_an_update_ends(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        """What an old copy leaves open is cleared or accused after an update, and nothing else gets worse."""
        monkeypatch.setattr(ages, "AGES", {12: 365})
        replies = material.worst(one for scene in ages.scenes(lab) for one in ours.run(scene))
        found = {(one.group, one.name, one.setting, one.host): one for one in replies}
        open_before = 0
        for (group, name, setting, host), before in found.items():
            if (after := found.get((ages.WITH_UPDATE.format(group), name, setting, host))) is None:
                continue
            assert (before.wrong, after.wrong) == (False, False)
            if before.answer is material.Answer.NOTHING:
                open_before += 1
                genuine = before.truth is material.Truth.GENUINE
                cured = {material.Answer.CLEAN} if genuine else {material.Answer.POSSIBLE, material.Answer.ACCUSED}
                assert after.answer in cured
            else:
                assert after.badness >= before.badness
        assert open_before == 49 + 12
        text = page.write(page.Facts("c", lab.now.date(), {}, ()), replies, {})
        assert "| genuine | 12 months | no | 0 | 49 | 63 | 0 | 112 |" in text
        assert "| genuine | 12 months | yes | 49 | 0 | 63 | 0 | 112 |" in text


class TestPage:
    def test_sections_and_residuals(self, lab: Lab) -> None:
        """The page counts limits in the first table only and explains every wrong and every doubtful answer."""
        worlds = list(limits.limits(lab))
        scenes = [*honest.scenes(lab), *(scene for world in worlds for scene in world.scenes)]
        given = evaluate.Material([], scenes, [], worlds, scenes[0])
        notes: list[str] = []
        replies = evaluate.answers(given, with_baselines=True, quick=True, notes=notes)
        today = lab.now.date()
        facts = page.Facts("python -m evaluation --lab", today, {"detector": "1.2.3"}, notes)
        text = page.write(facts, replies, {world.name: world.why for world in worlds})
        for part in ("## What is counted", "### Everything", "## Every residual of the detector", "## The methods"):
            assert part in text
        assert f"Written on {today}" in text
        assert "| detector | 1.2.3 |" in text
        assert "### Wrong outside the worlds below: 0" in text
        assert all(f"**{world.name}**" in text and world.why in text for world in worlds)
        own = [one for one in page.counted(replies) if one.method == ours.METHOD]
        assert len(own) < sum(one.method == ours.METHOD for one in replies)
        accused = sum(one.wrong and one.truth is material.Truth.GENUINE for one in own)
        genuine = sum(one.truth is material.Truth.GENUINE for one in own)
        whole, _, rest = text.partition("### Without the residuals")
        assert f"| detector | {accused} ({accused / genuine:.1%}) |" in whole
        assert "| detector | 0 |" in rest
        assert "was not run: --quick" in text
        rule = RULE_OF[Reason.PIN_MISMATCH]
        assert "\n`pin-mismatch`, " in text
        assert f": {rule.why} It needs: {rule.needs}. Alternatives named: " in text

    def test_wrong_answer_outside_the_limits_is_on_the_page(self, lab: Lab) -> None:
        """A false accusation of an ordinary class is listed under its own heading."""
        replies = material.Reply(
            "genuine, ordinary", "n", "s", "h", ours.METHOD, material.Truth.GENUINE, material.Answer.ACCUSED
        )
        text = page.write(page.Facts("c", lab.now.date(), {}, ()), [replies], {})
        assert "### Wrong outside the worlds below: 1\n\n* n, s, h" in text
        assert "**1 accused**" in text

    def test_writing(self, folder: Path, run: Run, tmp_path: Path) -> None:
        """`--write` writes the page with a command that names no path of this machine."""
        target = tmp_path / "accuracy.md"
        assert run(folder, "--baselines", "--quick", "--write", target)[0] == 0
        text = target.read_text("utf-8")
        assert "python -m evaluation FOLDER --roots PEM --ct-logs FILE --baselines --quick" in text
        assert str(tmp_path) not in text
        assert run(folder, "--write", tmp_path / "absent" / "page.md")[0] == 2

    def test_published_page_is_about_these_limits(self, lab: Lab) -> None:
        """docs/accuracy.md lists the worlds there are, and nothing wrong besides them."""
        text = (ROOT / "docs" / "accuracy.md").read_text("utf-8")
        assert "### Wrong outside the worlds below: 0" in text
        assert all(f"**{world.name}**" in text and world.why in text for world in limits.limits(lab))
