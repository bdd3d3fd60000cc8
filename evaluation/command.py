"""Assess material of known ground truth, and report how often the detector, and other methods, are wrong.

    python -m evaluation FOLDER [--roots PEM] [--ct-logs FILE]
    python -m evaluation FOLDER --lab --baselines --write docs/accuracy.md

The forms of chains below FOLDER are those of `corpora`. Every chain is assessed at its own date, with the data set of
that date (`past`). Chains of a site with several captures are assessed without pins, and with pins learned from every
other capture; genuine ones also by copies of the package from 6, 12 and 24 months before, unchanged and with the
update of the day, on machines with old and new stores. The worst result counts.

`--lab` adds generated certificate families and live scenarios on loopback, with mitmproxy; `--baselines` adds other
methods over the same material; `--write` writes the page. `--quick` leaves out everything that uv must download:
mitmproxy, and the package from PyPI. All traffic stays on loopback.

Wrong is: a genuine chain called middleware at `probable` or above; a forged one called clean (in FOLDER: not called
middleware); another server, such as a portal, called either. Every wrong answer is listed, and every genuine chain of
FOLDER that is not called clean. The exit code is 1 for a wrong answer, except in the worlds of `limits`, whose answers
are known to be wrong; there it is 1 when the wrong settings differ from the stated ones.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import platform
import shlex
from collections import Counter
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from OpenSSL import SSL

from detector.errors import DetectorError
from detector.knowledge.roots import machine_roots
from detector.session.settings import Expectations
from detector.version import VERSION

from . import (
    ages,
    baselines,
    client_hellos,
    corpora,
    engines,
    forms,
    honest,
    innocent,
    limits,
    misissuing,
    ours,
    page,
    past,
    portal_detector,
    scenarios,
)
from .lab import Lab
from .material import Answer, Reply, Truth, worst

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .material import Scene


FAMILIES: Final = (engines, misissuing, honest, innocent, ages, forms)
"""Modules whose `scenes` make generated material."""

TERMINAL_CLOSED = 141
"""128 + SIGPIPE, as shells report it."""


class Material(NamedTuple):
    """The scenes, and the worlds of `limits`."""

    captured: list[Scene]
    generated: list[Scene]
    live: list[Scene]
    worlds: list[limits.Limit]
    now: Scene | None

    @property
    def scenes(self) -> list[Scene]:
        """All scenes."""
        return [*self.captured, *self.generated, *self.live]


def lab_material(captured: list[Scene], *, quick: bool) -> Material:
    """Add families, limits and live scenarios to what was captured. Raises MitmproxyError."""
    lab = Lab()
    generated = [scene for family in FAMILIES for scene in family.scenes(lab)]
    now = generated[0]
    worlds = list(limits.limits(lab))
    generated += [scene for world in worlds for scene in world.scenes]
    live = asyncio.run(scenarios.run(lab, with_mitmproxy=not quick))
    return Material(captured, generated, live, worlds, now)


def answers(material: Material, *, with_baselines: bool, quick: bool, notes: list[str]) -> list[Reply]:
    """Return every method's answers to everything."""
    replies = [one for scene in material.scenes for one in ours.run(scene)]
    if with_baselines:
        replies += [one for scene in material.scenes for one in baselines.run(scene)]
        replies += _package_answers(material, notes) if not quick else []
        if quick:
            notes.append(f"{portal_detector.METHOD} was not run: --quick.")
    return worst(replies)


def _package_answers(material: Material, notes: list[str]) -> list[Reply]:
    if material.now is None:
        notes.append(f"{portal_detector.METHOD} was not run: it needs servers, which --lab has.")
        return []
    try:
        replies = asyncio.run(portal_detector.ask_all(material.generated, material.now))
    except portal_detector.NotRunError as error:
        notes.append(f"{portal_detector.METHOD} was not run: {error}.")
        return []
    return replies + [one for scene in (*material.captured, *material.live) for one in portal_detector.unasked(scene)]


def versions(knowledge: past.Knowledge | None, mitmproxy: str | None) -> dict[str, str]:
    """Return the versions of this run."""
    found = {
        "detector": VERSION,
        "Python": platform.python_version(),
        "cryptography": metadata.version("cryptography"),
        "pyOpenSSL": f"{metadata.version('pyopenssl')} ({SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()})",
        "operating system's roots": f"{platform.system()}, {len(machine_roots())} roots",
    }
    if knowledge is not None:
        found["public roots for captured chains"] = knowledge.roots_from
        found["CT logs for captured chains"] = knowledge.logs_from
    if mitmproxy is not None:
        found["mitmproxy"] = mitmproxy
    return found


def print_folder(name: str, replies: Sequence[Reply], knowledge: past.Knowledge) -> list[Reply]:
    """Print the confusion table of a folder, and what is wrong or not cleared; returns what is wrong."""
    chains = sum(one.setting == corpora.NO_PINS for one in replies)
    print(f"{chains} chains from {name}\nroots: {knowledge.roots_from}\nlogs: {knowledge.logs_from}\n")
    truths = {Truth.GENUINE: "genuine", Truth.INTERCEPTED: "forged"}
    table = Counter((one.setting, truths[one.truth], one.detail) for one in replies)
    print(f"{'pins':<22}{'truth':<10}{'answer':<32}{'count':>6}")
    for (pins, truth, answer), number in sorted(table.items()):
        print(f"{pins:<22}{truth:<10}{answer:<32}{number:>6}")
    # A forged chain is not an outage: here `inconclusive` is as wrong as `clean`.
    wrong = [one for one in replies if one.wrong or (one.truth is Truth.INTERCEPTED and one.answer is Answer.NOTHING)]
    print(f"\nwrong: {len(wrong)}")
    for one in wrong:
        print_answer(one)
    doubtful = [
        one for one in replies if one.truth is Truth.GENUINE and one.answer in {Answer.POSSIBLE, Answer.NOTHING}
    ]
    print(f"\ngenuine and not cleared: {len(doubtful)}")
    for one in doubtful:
        if one.setting == corpora.NO_PINS:
            print_answer(one)
    others = [(one, one.result) for one in doubtful if one.setting != corpora.NO_PINS]
    counted = Counter((one.setting, one.detail, result.reason) for one, result in others if result is not None)
    for (setting, detail, reason), number in counted.items():
        print(f"  {setting}: {detail}, {reason}, {number} chains")
    return wrong


def print_answer(one: Reply) -> None:
    """Print one answer of the detector."""
    reason, alternatives = (one.result.reason, ", ".join(one.result.alternatives)) if one.result else ("", "")
    named = f"; alternatives: {alternatives}" if alternatives else ""
    print(f"  {one.name}: {one.detail}, {reason}, {one.setting}{named}")


def print_lab(replies: Sequence[Reply], worlds: Sequence[limits.Limit]) -> list[str]:
    """Print what is wrong in the lab and at the limits; returns the failures."""
    own = [one for one in replies if one.method == ours.METHOD]
    wrong = [one for one in own if one.wrong and one.group != limits.GROUP]
    print(f"\nlab: {len(own)} endpoints; wrong outside the limits: {len(wrong)}")
    for one in wrong:
        print_answer(one)
    limited = [one for one in own if one.wrong and one.group == limits.GROUP]
    print(f"\nwrong at the limits (evaluation/limits.py says why): {len(limited)}")
    for one in limited:
        print_answer(one)
    unlike = [world.name for world in worlds if {o.setting for o in limited if o.name == world.name} != world.wrong]
    for name in unlike:
        print(f"\nno longer wrong in the settings that evaluation/limits.py names: {name}")
    return [one.name for one in wrong] + unlike


def print_counts(replies: Sequence[Reply]) -> None:
    """Print every method's counts over everything."""
    columns = ("falsely accused", "possible", "no answer", "missed", "possible", "no answer", "portals wrong")
    print(f"\n{'method':<32}" + "".join(f"{column:>17}" for column in columns))
    for method, counts in page.count(page.counted(replies)).items():
        cells = [counts[Truth.GENUINE, answer] for answer in (Answer.ACCUSED, Answer.POSSIBLE, Answer.NOTHING)]
        cells += [counts[Truth.INTERCEPTED, answer] for answer in (Answer.CLEAN, Answer.POSSIBLE, Answer.NOTHING)]
        cells.append(sum(counts[Truth.ANOTHER_SERVER, answer] for answer in (Answer.ACCUSED, Answer.CLEAN)))
        print(f"{method:<32}" + "".join(f"{cell:>17}" for cell in cells))


def command_line(options: argparse.Namespace) -> str:
    """Return the command that writes the page, with placeholders for paths."""
    words = ["python", "-m", "evaluation"]
    words += ["FOLDER"] if options.folder else []
    words += ["--roots", "PEM"] if options.roots else []
    words += ["--ct-logs", "FILE"] if options.ct_logs else []
    words += [f"--{name}" for name in ("lab", "baselines", "quick") if getattr(options, name)]
    return shlex.join([*words, "--write", "docs/accuracy.md"])


def parse(arguments: Sequence[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m evaluation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="chains of known truth; optional with --lab")
    parser.add_argument(
        "--roots",
        type=Path,
        help="PEM file that replaces the roots of the time, for the folder; the logs are then one list too",
    )
    parser.add_argument(
        "--ct-logs", type=Path, help="Google log list v3 JSON that replaces the logs of the time, likewise"
    )
    parser.add_argument("--lab", action="store_true", help="add generated families and live scenarios on loopback")
    parser.add_argument("--baselines", action="store_true", help="add other methods over the same material")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page of error rates")
    parser.add_argument("--quick", action="store_true", help="leave out what has to be downloaded")
    options = parser.parse_args(arguments)
    if options.folder is None and not options.lab:
        parser.error("give a folder of chains, or --lab")
    if options.folder is not None and not options.folder.is_dir():
        parser.error(f"{options.folder}: not a folder")
    return parser, options


def knowledge_of(options: argparse.Namespace) -> past.Knowledge:
    """What the chains of a folder are assessed with. Raises RootsError and LogListError."""
    known = past.of_the_time()
    listed = Expectations(logs=options.ct_logs).log_list
    logs_from = f"{Path(listed.name).name}, {listed.date}"
    if options.roots:
        given = Expectations(roots=options.roots).public_roots
        roots_from = f"{given.name} {given.version}, {len(given)} roots"
        return past.Knowledge(lambda _day: given, lambda _day: listed, roots_from, logs_from, {})
    if options.ct_logs:
        return known._replace(logs=cache(listed.as_of), logs_from=f"as of each day, {logs_from}")
    return known


def collect(options: argparse.Namespace) -> tuple[Material, past.Knowledge | None]:
    """Return the requested material. Raises ValueError, DetectorError and MitmproxyError."""
    chains = list(corpora.samples(options.folder)) if options.folder else []
    if options.folder and not chains:
        raise ValueError(f"{options.folder}: no chain below it")
    knowledge = knowledge_of(options) if chains else None
    captured = list(corpora.scenes(chains, knowledge)) if knowledge else []
    material = lab_material(captured, quick=options.quick) if options.lab else Material(captured, [], [], [], None)
    return material, knowledge


def notes_on(options: argparse.Namespace) -> list[str]:
    """Return notes on what was left out."""
    notes = [] if options.folder else ["No captured chains: no folder was given."]
    if not options.lab:
        notes.append("Captured chains only: --lab was not given.")
    elif options.quick:
        notes.append("mitmproxy was not run: --quick.")
    return notes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser, options = parse(arguments)
    notes = notes_on(options)
    try:
        material, knowledge = collect(options)
        runs_mitmproxy = options.lab and not options.quick
        mitmproxy = asyncio.run(scenarios.mitmproxy_version()) if runs_mitmproxy else None
    except (ValueError, DetectorError) as error:
        parser.error(str(error))

    replies = answers(material, with_baselines=options.baselines, quick=options.quick, notes=notes)
    failures: list[object] = []
    if knowledge is not None:
        captured = [one for one in replies if one.method == ours.METHOD and one.group in page.CAPTURED]
        failures += print_folder(str(options.folder), captured, knowledge)
    if options.lab:
        failures += print_lab([one for one in replies if one.group not in page.CAPTURED], material.worlds)
    if options.baselines:
        print_counts(replies)
    if options.write:
        today = dt.datetime.now(dt.UTC).date()
        facts = page.Facts(command_line(options), today, versions(knowledge, mitmproxy), notes)
        whys = {world.name: world.why for world in material.worlds}
        try:
            before = options.write.read_text("utf-8") if options.write.exists() else ""
            options.write.write_text(page.write(facts, replies, whys) + client_hellos.kept(before), "utf-8")
        except OSError as error:
            parser.error(f"{options.write}: cannot be written ({error.strerror})")
    return 1 if failures else 0
