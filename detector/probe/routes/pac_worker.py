"""Evaluates one PAC file, in a process of its own that can be killed at any time.

Room: probe. Reads one JSON object from standard input, writes one to standard output, opens nothing. Neither imported
by the rest nor importing it: `pac` starts it.

The file comes from the operator of the network, or from anybody who answers in their place. It runs in QuickJS compiled
to WebAssembly: a fault of the engine stays within the memory of that sandbox, whose functions reach nothing outside.

In:  {"script": "…", "own": "192.0.2.7", "local": {…}, "utc": {…}, "answers": {"name": ["192.0.2.1"]},
      "asked": [["https://exam.example.edu/", "exam.example.edu"]], "seconds": 1.0, "bytes": 16777216}
Out: {"said": ["PROXY proxy.example:3128; DIRECT", null], "wanted": ["other.example"]}
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

from quickjs_rs import QuickJSError, Runtime, SourceTransform
from wasmtime import Trap, WasmtimeError

SAID_CHARACTERS_MAX = 4096  # characters of one answer: a list of a few proxies has about a hundred

WANTED_CHARACTERS_MAX = 32 * 1024
NAMES_MAX = 64  # characters and entries of the list of names; `pac.js` keeps 64 of at most 253 characters

FAILURES = (QuickJSError, Trap, WasmtimeError)
"""How a script can fail: an exception of its own, a limit, or a trap of the sandbox (endless recursion)."""


def evaluate(job: dict[str, Any]) -> dict[str, Any]:
    """Evaluate the script for every URL; null where it failed."""
    said: list[str | None] = []
    wanted: dict[str, None] = {}
    for url, host in job["asked"]:
        # A sandbox for each question, so that none can influence the answer to another.
        answer = _ask(job, url, host)
        said.append(answer[0])
        wanted.update(dict.fromkeys(answer[1]))
    return {"said": said, "wanted": list(wanted)}


def _ask(job: dict[str, Any], url: str, host: str) -> tuple[str | None, list[str]]:
    functions = pathlib.Path(__file__).with_name("data").joinpath("pac.js").read_text("utf-8")
    given = {name: job[name] for name in ("own", "local", "utc", "answers")}
    setting = "".join(f"__{name} = {json.dumps(value)};" for name, value in given.items())
    asking = f"String(FindProxyForURL({json.dumps(url)}, {json.dumps(host)})).slice(0, {SAID_CHARACTERS_MAX})"
    try:
        with Runtime(memory_limit=job["bytes"], transform_flags=SourceTransform.NONE) as runtime:
            context = runtime.new_context(timeout=job["seconds"])
            context.eval(functions + setting)
            context.eval(job["script"] + "\n;undefined")
            said = context.eval(asking)
            wanted = context.eval(f"String(JSON.stringify(__wanted)).slice(0, {WANTED_CHARACTERS_MAX})")
    except FAILURES:
        return None, []
    return said if isinstance(said, str) else None, _names(wanted)


def _names(text: object) -> list[str]:
    """Parse the list of names; a script may have put anything in its place."""
    try:
        names = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return []
    return [name for name in names if isinstance(name, str)][:NAMES_MAX] if isinstance(names, list) else []


def main() -> None:
    """Run one job."""
    json.dump(evaluate(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
