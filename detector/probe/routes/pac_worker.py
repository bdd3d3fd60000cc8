"""Evaluates a PAC file, in a process of its own that can be killed at any time.

Room: probe. Reads JSON objects from standard input, one a line, and answers each on standard output; opens nothing.
`pac` starts it, and calls `evaluate` in a thread only where no process can be started (`detector.frozen`).

The file comes from the operator of the network, or from anybody who answers in their place. It runs in QuickJS compiled
to WebAssembly: a fault of the engine stays within the memory of that sandbox, whose functions reach nothing outside.

In:  {"script": "…", "entries": ["FindProxyForURL"], "own": ["192.0.2.7"], "local": {…}, "utc": {…},
      "answers": {"name": ["192.0.2.1"]}, "asked": [["https://exam.example.edu/", "exam.example.edu"]],
      "seconds": 1.0, "seconds_all": 8.0, "bytes": 16777216}
Out: an empty line when the sandbox is compiled, then {"said": ["PROXY proxy.example:3128; DIRECT", null],
     "wanted": ["other.example"]} for each line
"""

from __future__ import annotations

import json
import pathlib
import sys
import time
from typing import Any, Final

import wasmtime
from quickjs_rs import QuickJSError, Runtime, SourceTransform

SAID_CHARACTERS_MAX: Final = 4096  # characters of one answer: a list of a few proxies has about a hundred

WANTED_CHARACTERS_MAX: Final = 32 * 1024
NAMES_MAX: Final = 64  # characters and entries of the list of names; `pac.js` keeps 64 of at most 253 characters

FAILURES: Final = (QuickJSError, wasmtime.Trap, wasmtime.WasmtimeError)
"""How a script can fail: an exception of its own, a limit, or a trap of the sandbox (endless recursion)."""

_FUNCTIONS: Final = pathlib.Path(__file__).with_name("data").joinpath("pac.js").read_text("utf-8")


def compile_quickly() -> None:
    """Compile the sandbox without optimization: that halves the 0.4 s of a start, and scripts are small.

    The library has no setting for it. Should it keep its engine elsewhere, only that time is lost.
    """
    config = wasmtime.Config()
    config.cranelift_opt_level = "none"
    if (module := sys.modules.get("quickjs_rs._wasmtime")) is not None:
        vars(module)["_SHARED_ENGINE"] = wasmtime.Engine(config)


def evaluate(job: dict[str, Any]) -> dict[str, Any]:
    """Evaluate the script for every URL; null where it failed, or where the time of all was spent."""
    said: list[str | None] = []
    wanted: dict[str, None] = {}
    end = time.monotonic() + job["seconds_all"]
    for url, host in job["asked"]:
        # A sandbox for each question, so that none can influence the answer to another.
        seconds = min(job["seconds"], end - time.monotonic())
        answer, names = _ask(job, url, host, seconds) if seconds > 0 else (None, [])
        said.append(answer)
        wanted.update(dict.fromkeys(names))
    return {"said": said, "wanted": list(wanted)}


def _ask(job: dict[str, Any], url: str, host: str, seconds: float) -> tuple[str | None, list[str]]:
    given = {name: job[name] for name in ("own", "local", "utc", "answers")}
    setting = "".join(f"__{name} = {json.dumps(value)};" for name, value in given.items())
    try:
        with Runtime(memory_limit=job["bytes"], transform_flags=SourceTransform.NONE) as runtime:
            context = runtime.new_context(timeout=seconds)
            context.eval(_FUNCTIONS + setting)
            context.eval(_in_sloppy_mode(job["script"], job["entries"]))
            said = context.eval(_call(url, host))
            wanted = context.eval(f"String(JSON.stringify(__wanted)).slice(0, {WANTED_CHARACTERS_MAX})")
    except FAILURES:
        return None, []
    return said[:SAID_CHARACTERS_MAX] if isinstance(said, str) else None, _names(wanted)


def _in_sloppy_mode(script: str, entries: list[str]) -> str:
    """An indirect eval of the script: the library's own evaluates in strict mode, which no browser does here.

    The first of `entries` that it declares is kept, also where it is no property of the global object (`const`).
    """
    found = " : ".join(f"typeof {name} === 'function' ? {name}" for name in entries)
    whole = f"{script}\n;globalThis.__entry = {found} : null;"
    return f"(0, eval)({json.dumps(whole)}); undefined"


def _call(url: str, host: str) -> str:
    """Call the file's function. No value is an empty answer; what is not a string is no answer."""
    called = f"__entry({json.dumps(url)}, {json.dumps(host)})"
    return f"(function (said) {{ return said === undefined || said === null ? '' : said; }})({called})"


def _names(text: object) -> list[str]:
    """Parse the list of names; a script may have put anything in its place."""
    try:
        names = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return []
    return [name for name in names if isinstance(name, str)][:NAMES_MAX] if isinstance(names, list) else []


def main() -> None:
    """Compile the sandbox, say so, and run jobs until the input ends."""
    compile_quickly()
    with Runtime() as runtime:
        runtime.new_context()
    print(flush=True)  # noqa: T201 - the protocol of this program
    for line in sys.stdin.buffer:
        print(json.dumps(evaluate(json.loads(line))), flush=True)  # noqa: T201 - the protocol of this program


if __name__ == "__main__":
    main()
