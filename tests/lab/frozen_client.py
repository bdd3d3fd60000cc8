"""A client application as a vendor would write it, for tests/lab/test_frozen.py, which freezes it.

It gates, checks, guards and watches as a file says, through the proxy of a PAC file, and prints what came out as JSON.
Before anything else it leaves a line in a file, so that starts are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp

import detector
from detector import exam, report
from detector.errors import GuardError
from detector.frozen import host, run_child_program
from detector.guard import Guard, GuardedConnector


def missing(modules: list[str], files: list[str]) -> list[str]:
    """What the freezer has not collected of these modules, and of these files of the package."""
    absent = [file for file in files if not Path(detector.__file__).parents[1].joinpath(file).is_file()]
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            absent.append(f"{module}: {error}")
    return absent


async def through(pac: str, given: dict[str, Any]) -> dict[str, Any]:
    """What gate, check, guard and watch find on the route that a PAC file names."""
    options = {"proxy": f"pac:{pac}", "offline": True, **given["trust"]}
    decision = await exam.gate(policy=given["policy"], **options)
    async with detector.Detector(pins=given["pins"], **options) as subject:
        checked = await subject.check(deadline=60)
        async with contextlib.aclosing(subject.watch(deadline=60)) as events:
            watched = (await anext(events)).kind
    guard = Guard(pins=given["pins"], **given["trust"])
    async with aiohttp.ClientSession(connector=GuardedConnector(guard, proxy=f"pac:{pac}")) as session:
        try:
            async with session.get(given["url"]) as response:
                guarded = str(response.status)
        except GuardError as refusal:
            guarded = type(refusal).__name__
    seen = checked.results[0]
    return {
        "gate": decision.action,
        "verdict": checked.verdict,
        "outcome": seen.observation.outcome,
        "route": seen.observation.route,
        "watch": watched,
        "guard": guarded,
        "html": report.html([checked]),
    }


def main() -> None:
    """Run all of it."""
    given = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    with Path(given["starts"]).open("a", encoding="utf-8") as starts:
        starts.write(f"{os.getpid()}\n")
    if given["gate_only"]:
        options = {"proxy": f"pac:{given['pacs'][0]}", "offline": True, **given["trust"]}
        found: Any = asyncio.run(exam.gate(policy=given["policy"], **options)).action
    else:
        found = [asyncio.run(through(pac, given)) for pac in given["pacs"]]
    print(json.dumps({"host": host(), "missing": missing(given["modules"], given["files"]), "found": found}))  # noqa: T201 - what it prints is its answer to the process that started it


if __name__ == "__main__":
    if os.environ.get("CLIENT_RUNS_CHILD_PROGRAMS"):  # an application either calls this or not; the tests try both
        run_child_program()
    main()
