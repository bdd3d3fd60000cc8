"""The evaluation: folders of chains, generated families, baselines, and the page. No network but loopback."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from detector.testing import serve_middlebox, serve_origin
from detector.testing.pki import to_pem

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))  # scripts are run from their own folder, and not installed

evaluate = importlib.import_module("evaluate")
material = importlib.import_module("evaluation.material")
baselines = importlib.import_module("evaluation.baselines")
families = importlib.import_module("evaluation.families")
limits = importlib.import_module("evaluation.limits")
ours = importlib.import_module("evaluation.ours")
page = importlib.import_module("evaluation.page")
portal_detector = importlib.import_module("evaluation.portal_detector")
scenarios = importlib.import_module("evaluation.scenarios")

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.testing import Issued, PrivatePKI

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


@pytest.fixture
def folder(tmp_path: Path, pki: PrivatePKI) -> Path:
    """Two captures of one genuine site and one forged leaf of another."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(2):
        (folder / f"exam_{number}.json").write_text(limbo(pki, EXAM, pki.issue([EXAM])), "utf-8")
    forged = pki.private_ca("Filter CA", leaf_key_is_ca_key=True).issue([LMS])
    pair = {"role": "forged", "not_before": pki.now.isoformat(), "pem": to_pem(forged.leaf).decode()}
    (folder / "pairs.json").write_text(json.dumps({"pairs": [pair]}), "utf-8")
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
            code = end.code
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
        assert ["no", "pins", "forged", "middleware", "proven", "1"] in lines
        assert "wrong: 0" in output

    def test_false_accusation_is_listed(self, folder: Path, run: Run, pki: PrivatePKI) -> None:
        """A chain that the folder calls genuine and we call proven is wrong, by its file's name."""
        accused = pki.private_ca("Filter CA", leaf_key_is_ca_key=True).issue([LMS])
        (folder / "accused.json").write_text(limbo(pki, LMS, accused), "utf-8")
        code, output = run(folder)
        assert code == 1
        assert "wrong: 1\n  accused.json: middleware proven, row 15, no pins" in output

    def test_miss_is_listed(self, folder: Path, run: Run, pki: PrivatePKI) -> None:
        """A leaf that the folder calls forged and we do not call middleware is wrong."""
        genuine = pki.issue([LMS], intermediate=pki.root_b)  # one certificate is all this form has room for
        pair = {"role": "forged", "not_before": pki.now.isoformat(), "pem": to_pem(genuine.leaf).decode()}
        (folder / "pairs.json").write_text(json.dumps({"pairs": [pair]}), "utf-8")
        code, output = run(folder)
        assert code == 1
        assert "wrong: 1\n  pairs.json#0: clean logged, row 10, no pins" in output

    def test_doubt_is_listed_and_is_not_wrong(self, folder: Path, run: Run, pki: PrivatePKI) -> None:
        """Genuine but possible rows are listed with their alternatives."""
        (folder / "alone.json").write_text(limbo(pki, LMS, pki.self_signed([LMS])), "utf-8")
        code, output = run(folder)
        assert code == 0
        assert "alone.json: middleware possible, row 19, no pins; alternatives: self-signed-origin" in output

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
        """No folder, a folder that is none, and an empty one are each said to be that."""
        (tmp_path / "empty").mkdir()
        assert run() == (2, run()[1])
        assert "give a folder of chains, or --lab" in run()[1]
        assert "not a folder" in run(tmp_path / "absent")[1]
        assert "no chain below it" in run(tmp_path / "empty")[1]


@pytest.fixture(scope="module")
def lab(pki: PrivatePKI) -> Any:  # noqa: ANN401 - scripts are not importable for the type checker
    """The world of the generated families."""
    return families.Lab(pki)


class TestFamilies:
    def test_none_is_judged_wrongly(self, lab: Any) -> None:  # noqa: ANN401 - as `lab`
        """No false accusation at probable or above and no miss, in any family outside the limits."""
        said = [one for scene in families.scenes(lab) for one in ours.judge(scene)]
        assert {one.truth.value for one in said} == {"genuine", "intercepted"}
        assert [(one.name, one.setting, one.detail) for one in said if one.wrong] == []

    def test_every_engine_is_met_in_three_settings(self, lab: Any) -> None:  # noqa: ANN401 - as `lab`
        """Alone, pinned, and on unrelated operators; with pins, all but two poses are proven or probable."""
        scenes = list(families.forged(lab))
        settings: dict[str, set[str]] = {}
        for scene in scenes:
            settings.setdefault(scene.name, set()).add(scene.setting)
        assert {engine.name for engine in families.engines(lab)} == set(settings)
        assert all(len(met) == 3 for met in settings.values())
        doubted = {
            one.name
            for scene in scenes
            if scene.setting == families.PINNED
            for one in ours.judge(scene)
            if one.answer is not material.Answer.ACCUSED
        }
        assert all("issuer left out" in name for name in doubted)

    def test_limits_are_wrong_exactly_where_they_say(self, lab: Any) -> None:  # noqa: ANN401 - as `lab`
        """Each explained world is wrong in the settings it names, and in no other."""
        for world in limits.limits(lab):
            wrong = {one.setting for scene in world.scenes for one in ours.judge(scene) if one.wrong}
            assert wrong == world.wrong, world.name
            assert wrong, world.name

    def test_limit_that_changed_fails(self, lab: Any, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ANN401 - as `lab`
        """A world that is no longer wrong as it says is reason to fail, by its name."""
        world = next(limits.limits(lab))
        said = [one for scene in world.scenes for one in ours.judge(scene)]
        assert evaluate.print_lab(said, [world]) == []
        assert evaluate.print_lab(said, [world._replace(wrong=frozenset())]) == [world.name]
        assert (
            f"no longer wrong in the settings that evaluation/limits.py names: {world.name}" in capsys.readouterr().out
        )


def answers_to(scene: Any) -> dict[str, set[str]]:  # noqa: ANN401 - as `lab`
    """What the baselines answer, by method."""
    found: dict[str, set[str]] = {}
    for one in baselines.run(scene):
        found.setdefault(one.method, set()).add(one.answer.value)
    return found


class TestBaselines:
    def test_ordinary_server(self, lab: Any) -> None:  # noqa: ANN401 - as `lab`
        """All say clean of a genuine pinned server; without pins those that need them say nothing."""
        issued = lab.genuine(EXAM)
        truth = material.Truth.GENUINE
        pinned = lab.scene("g", "n", "s", lab.item(EXAM, issued, truth, pinned=[issued]))
        assert set(map(tuple, answers_to(pinned).values())) == {("clean",)}
        bare = answers_to(lab.scene("g", "n", "s", lab.item(EXAM, issued, truth)))
        assert [bare[name] for name in ("leaf hash", "SPKI pin, leaf", "SPKI pin, any")] == [{"no answer"}] * 3

    def test_appended_chain_fools_pins_of_any_certificate(self, lab: Any) -> None:  # noqa: ANN401 - as `lab`
        """The genuine chain behind a forged leaf satisfies whoever looks at any certificate, and nobody else."""
        scene = next(
            s
            for s in families.forged(lab)
            if s.name == "mitmproxy, upstream chain appended" and s.setting == families.PINNED
        )
        found = answers_to(scene)
        assert found["SPKI pin, any"] == {"clean"}
        assert found["SPKI pin, leaf"] == found["leaf hash"] == found["certifi"] == {"accused"}
        assert found["issuer keywords"] == {"accused"}
        assert found["Firefox rule"] == {"no answer"}
        assert found["OS store"] == {"clean"}  # the institution installed its CA

    def test_same_unknown_issuer_on_a_second_host(self, lab: Any) -> None:  # noqa: ANN401 - as `lab`
        """Firefox's rule accuses on unrelated hosts and not on hosts of one operator."""
        scenes = {(s.name, s.setting): s for s in families.scenes(lab)}
        assert answers_to(scenes["sslsplit", families.NETWORK])["Firefox rule"] == {"accused"}
        assert answers_to(scenes["undeclared", "three hosts of one operator"])["Firefox rule"] == {"no answer"}

    def test_unreadable_leaf_is_not_valid(self, lab: Any) -> None:  # noqa: ANN401 - as `lab`
        """What OpenSSL does not load is invalid to the stores and no answer to Firefox's rule."""
        genuine = lab.genuine(EXAM)
        item = lab.item(EXAM, genuine.with_chain(b"\x30\x00"), material.Truth.INTERCEPTED)
        found = answers_to(lab.scene("g", "n", "s", item))
        assert found["certifi"] == found["OS store"] == {"accused"}
        assert found["Firefox rule"] == found["issuer keywords"] == {"no answer"}

    def test_name_and_dates_count(self, lab: Any) -> None:  # noqa: ANN401 - as `lab`
        """A store check accuses an expired certificate and one for another name, genuine or not."""
        scenes = {(s.name, s.setting): s for s in families.genuine(lab)}
        for name in ("expired", "wrong virtual host"):
            assert answers_to(scenes[name, families.ALONE])["certifi"] == {"accused"}

    def test_unfinished_handshake_is_no_answer(self, lab: Any) -> None:  # noqa: ANN401 - as `lab`
        """Programs get the chain from a finished handshake; without one they say nothing."""
        item = lab.item(EXAM, lab.genuine(EXAM), material.Truth.GENUINE)
        unproved = item._replace(observation=material.observe(item.chain, key_proved=False))
        assert set(map(tuple, answers_to(lab.scene("g", "n", "s", unproved)).values())) == {("no answer",)}

    def test_worst_answer_counts(self) -> None:
        """Of several answers to one question the worst for its truth is kept."""
        answer, truth = material.Answer, material.Truth

        def said(of: Any, what: Any) -> Any:  # noqa: ANN401 - enums of the script
            return material.Said("g", "n", "s", "h", "m", of, what)

        for of, worst, others in (
            (truth.GENUINE, answer.ACCUSED, (answer.CLEAN, answer.POSSIBLE, answer.NOTHING)),
            (truth.INTERCEPTED, answer.CLEAN, (answer.ACCUSED, answer.POSSIBLE, answer.NOTHING)),
        ):
            asked = [said(of, what) for what in (*others, worst)]
            assert [one.answer for one in material.worst(asked)] == [worst]
            assert [one.answer for one in material.worst(reversed(asked))] == [worst]


class TestLive:
    async def test_middlebox_and_origin(self, lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401 - a Lab
        """A live look gives what the detector said and what the baselines need, and looks up no name but loopback."""
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
            direct = await world.look("g", "direct", scenarios.Seen({EXAM: truth.GENUINE}, world.where))
            through = await world.look(
                "g", "box", scenarios.Seen({EXAM: truth.INTERCEPTED}, {(EXAM, 443): box.address})
            )
        said = [one for scene in (*direct, *through) for one in ours.judge(scene)]
        assert [one.detail for one in said] == [
            "clean logged",
            "clean pinned",
            "middleware possible",
            "middleware proven",
        ]
        assert answers_to(through[1])["SPKI pin, leaf"] == {"accused"}
        assert set(asked) <= {"127.0.0.1", b"127.0.0.1"}


class TestPackage:
    async def test_answers_of_the_driver(self, lab: Any, tmp_path: Path) -> None:  # noqa: ANN401 - as `lab`
        """A verdict line becomes an answer; an endpoint without pins is not asked; a dead driver is an error."""
        echo = "import json,sys\nfor line in sys.stdin:\n print(json.dumps({'verdict': 'CAPTIVE'}), flush=True); break"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", echo, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        asked = portal_detector.Asked(process, tmp_path)
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

    def test_page_says_when_it_was_not_run(self, lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401 - as `lab`
        """Without uv the method is left out, with the reason, and nothing else fails."""
        monkeypatch.setattr(portal_detector.shutil, "which", lambda _: None)
        monkeypatch.setattr(portal_detector.importlib.util, "find_spec", lambda _: None)
        scene = next(iter(families.genuine(lab)))
        notes: list[str] = []
        given = evaluate.Material([], [scene], [], [], scene)
        said = evaluate.answers(given, with_baselines=True, quick=False, notes=notes)
        assert portal_detector.METHOD not in {one.method for one in said}
        assert "there is no uv" in notes[0]


class TestPage:
    def test_sections_and_residuals(self, lab: Any) -> None:  # noqa: ANN401 - as `lab`
        """The page has its parts, counts limits in the first table only, and explains every wrong answer."""
        worlds = list(limits.limits(lab))
        scenes = [*families.genuine(lab), *(scene for world in worlds for scene in world.scenes)]
        given = evaluate.Material([], scenes, [], worlds, scenes[0])
        notes: list[str] = []
        said = evaluate.answers(given, with_baselines=True, quick=True, notes=notes)
        today = lab.now.date()
        facts = page.Facts("python scripts/evaluate.py --lab", today, {"detector": "1.2.3"}, notes)
        text = page.write(facts, said, {world.name: world.why for world in worlds})
        for part in ("## What is counted", "### Everything", "## Every residual of the detector", "## The methods"):
            assert part in text
        assert f"Written on {today}" in text
        assert "| detector | 1.2.3 |" in text
        assert "### Wrong outside the limits: 0" in text
        assert all(f"**{world.name}**" in text and world.why in text for world in worlds)
        own = [one for one in said if one.method == ours.METHOD]
        accused = sum(one.wrong and one.truth is material.Truth.GENUINE for one in own)
        genuine = sum(one.truth is material.Truth.GENUINE for one in own)
        whole, _, rest = text.partition("### Without the worlds listed as limits")
        assert f"| detector | {accused} ({accused / genuine:.1%}) |" in whole
        assert "| detector | 0 |" in rest
        assert "was not run: --quick" in text

    def test_wrong_answer_outside_the_limits_is_on_the_page(self, lab: Any) -> None:  # noqa: ANN401 - as `lab`
        """A false accusation of an ordinary class is listed under its own heading."""
        said = material.Said(
            "genuine, ordinary", "n", "s", "h", ours.METHOD, material.Truth.GENUINE, material.Answer.ACCUSED
        )
        text = page.write(page.Facts("c", lab.now.date(), {}, ()), [said], {})
        assert "### Wrong outside the limits: 1\n\n* n, s, h" in text
        assert "**1 accused**" in text

    def test_writing(self, folder: Path, run: Run, tmp_path: Path) -> None:
        """`--write` writes the page with a command that names no path of this machine."""
        target = tmp_path / "accuracy.md"
        assert run(folder, "--baselines", "--quick", "--write", target)[0] == 0
        text = target.read_text("utf-8")
        assert "python scripts/evaluate.py FOLDER --roots PEM --ct-logs FILE --baselines --quick" in text
        assert str(tmp_path) not in text
        assert run(folder, "--write", tmp_path / "absent" / "page.md")[0] == 2

    def test_published_page_is_about_these_limits(self, lab: Any) -> None:  # noqa: ANN401 - as `lab`
        """docs/accuracy.md lists the worlds there are, and nothing wrong besides them."""
        text = (ROOT / "docs" / "accuracy.md").read_text("utf-8")
        assert "### Wrong outside the limits: 0" in text
        assert all(f"**{world.name}**" in text and world.why in text for world in limits.limits(lab))
