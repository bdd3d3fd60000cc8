"""`detector exam`: the gate at exam start, for clients that are not written in Python.

Room: cli.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from detector.aio.lazy import LazyModule
from detector.errors import InputError, RequestError
from detector.exam import browser_session, gatekeeper, native_messaging, protocol
from detector.exam import manifest as manifests
from detector.exam.policy import DEADLINE_LEAST, Action, Policy
from detector.knowledge.data_set import SHIPPED
from detector.locate.locate import Locating
from detector.model import Detail, encode
from detector.model.private_files import OWNER_ONLY
from detector.model.validate import naming
from detector.pins.encoding import WITNESS_PREFIX
from detector.pins.load import VENDOR
from detector.session.plan import FILE_PREFIX
from detector.trust.key_files import load_signing_key

from . import common, options, reporting
from .options import Format
from .stderr import say
from .streams import put

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector import frozen
    from detector.exam.decision import Decision
    from detector.session.session import Detector
    from detector.session.settings import SeenBefore
else:
    frozen = LazyModule("detector.frozen")  # for a manifest

_EXIT: Final = {Action.ALLOW: common.CLEAN, Action.WARN: common.CLEAN, Action.BLOCK: common.INCONCLUSIVE}
"""0 where the exam may begin, 3 where it may not. Never 1: that a server was not confirmed accuses nobody."""

_PATHS: Final = frozenset(
    {
        *("policy", "signing_key", "data", "pins", "roots", "add_roots", "ct_logs"),
        *("report_key", "report_receipt_key", "report_pseudonym_key", "report_pins", "outbox"),
    }
)
"""Options whose values are paths: a browser starts the host in a directory of its own choice."""

_policy_file: Final = options.trusting("--policy", "Exam policy (TOML), not the default.", metavar="FILE")


@options.group(
    "detector exam gate --policy policy.toml",
    sections={"At exam start": ("gate",), "Browser extension": ("manifest", "native-host")},
)
def exam() -> None:
    """Decide whether an exam may start on this network.

    The gate, its policy and its protocol are in docs/exam-gate.md.
    """


@exam.subcommand(
    "detector exam gate --policy policy.toml",
    "detector exam gate --policy policy.toml --format text",
    "detector exam gate --policy policy.toml --bundle evidence.json --signing-key key.pem",
)
@click.pass_obj
def gate(  # noqa: PLR0913 - one parameter per option
    started: float | None,
    *,
    request: str | None = options.target(
        "--request", "Request (JSON) to answer; - reads it from standard input.", metavar="FILE|-"
    ),
    bundle: str | None = options.bundle,
    place: str | None = options.known_history,
    policy: str | None = _policy_file,
    signing_key: str | None = options.signing_key,
    language: str | None = options.language,
    settings: dict[str, Any] = options.settings() + options.variants,
    locate: bool = options.locate,
    report: dict[str, Any] = options.reporting,
    out: options.Output = options.written(Format.JSON, Format.TEXT),
) -> int:
    """Probe this network once and decide.

    Answers with one line of JSON, or with a text for people.

    Exit code: 0 the exam may begin (allow, or warn), 3 it may not (block: the exam server was not confirmed), 2 bad
    usage, policy, pins or request, 70 internal error, 74 no room for the result or the bundle, 130 interrupted.
    """
    common.refuse_same_file(output=out.file, bundle=bundle)
    chosen = _policy(policy, language)
    asked = _read_request(request, chosen.deadline) if request else protocol.Request()
    if asked.task is not protocol.Task.GATE:
        raise RequestError(
            f"--request: the task {asked.task} is for native messaging only.",
            advice="Ask for the task gate, or leave it out.",
        )
    keys = _keys(signing_key)
    with contextlib.ExitStack() as stack:
        reports = stack.enter_context(reporting.Reports(report, settings, chosen.report))
        deadline = asked.deadline or chosen.deadline
        history = stack.enter_context(common.SideHistory(place, common.history_wait(deadline, started)))
        detector = _detector(chosen, settings, locate=locate, seen_before=history.genuine)
        seal = stack.enter_context(common.later(bundle, "--bundle", mode=OWNER_ONLY))
        respond = stack.enter_context(common.later(out.file))
        left = common.remaining(deadline, started)
        asked = msgspec.structs.replace(asked, deadline=max(left, DEADLINE_LEAST))
        decision = asyncio.run(gatekeeper.serve_request(asked, policy=chosen, detector=detector, keys=keys))
        common.in_order(
            lambda: respond(lambda stream: _write_decision(decision, asked, out.form, out.detail, stream)),
            lambda: bundle and seal(lambda stream: stream.write(decision.evidence.decode("utf-8"))),
        )
        reports.report_last(lambda reporter: reporter.decision(decision))
    common.warn_of_age(decision.report.knowledge, decision.report.finished)
    return _EXIT[decision.action]


def _write_decision(decision: Decision, asked: protocol.Request, form: Format, detail: Detail, stream: TextIO) -> None:
    if form is Format.JSON:
        stream.write(encode(protocol.response(decision, asked)).decode("utf-8") + "\n")
        return
    stream.write(f"{decision.action.value.upper()}: {decision.message}\n")
    if detail is not Detail.VERDICT:
        stream.write(common.as_table(decision.report, stream, detail, decision.language))


@exam.subcommand("detector exam native-host --policy policy.toml", name="native-host")
def native_host(  # noqa: PLR0913 - one parameter per option
    *,
    policy: str | None = _policy_file,
    signing_key: str | None = options.signing_key,
    language: str | None = options.language,
    settings: dict[str, Any] = options.settings() + options.variants,
    locate: bool = options.locate,
    report: dict[str, Any] = options.reporting,
) -> int:
    """Answer a browser extension (native messaging).

    Reads and writes messages on standard input and output. A browser starts this; `detector exam manifest` writes the
    file it needs. It ends when the browser closes the port.
    """
    talking = _take_over_output()
    try:
        chosen = _policy(policy, language)
        keys = _keys(signing_key)
        detector = _detector(chosen, settings, locate=locate)
        reports = reporting.Reports(report, settings, chosen.report)
    except InputError as error:
        _write_frame(talking, protocol.error_response(error, protocol.ErrorCode.BAD_INPUT))
        raise
    session = browser_session.BrowserSession(
        chosen,
        detector,
        keys=keys,
        on_decision=lambda decision: reports.report_aside(lambda reporter: reporter.decision(decision)),
    )
    with reports:
        asyncio.run(native_messaging.serve(session.answer, reading=sys.stdin.fileno(), writing=talking))
    return common.CLEAN


@exam.subcommand(
    "detector exam manifest --browser firefox --extension-id exam@example.edu --policy policy.toml",
    "detector exam manifest --browser chrome --extension-id abcdefghijklmnopabcdefghijklmnop --install",
)
@click.pass_context
def manifest(  # noqa: PLR0913 - one parameter per option
    context: click.Context,
    *,
    browser: manifests.Browser = options.browser(
        "--browser", "The browser that will start the host.", type=options.Choice(manifests.Browser), required=True
    ),
    extension_id: str = options.browser(
        "--extension-id", "The one extension that may talk to it.", required=True, metavar="ID"
    ),
    install: bool = options.browser(
        "--install", "Write both files for this user instead of showing them.", is_flag=True
    ),
    user_data_dir: str | None = options.browser(
        "--user-data-dir", "For a browser that is started with this option, not Firefox.", metavar="DIR"
    ),
    policy: str | None = _policy_file,
    signing_key: str | None = options.signing_key,
    language: str | None = options.language,
    settings: dict[str, Any] = options.settings() + options.variants,
    locate: bool = options.locate,
    report: dict[str, Any] = options.reporting,
) -> int:
    """Create the files with which a browser starts the host.

    The native-messaging host is started with the options given here. Shows them; with --install writes them. On Windows
    also shows the command that adds them to the registry.
    """
    chosen = _policy(policy, language)
    _keys(signing_key)
    # Unusable options are reported to the administrator, not to the student.
    _detector(chosen, settings, locate=locate)
    reporting.Reports(report, settings, chosen.report)
    command = frozen.detector_command()
    if command is None:
        raise InputError(
            f"No browser can start the host through this program, which is {frozen.host()}.",
            advice="Run this command of the program `detector`: a browser then starts that.",
        )
    made = manifests.files(
        manifests.Place(
            browser=browser,
            system=_system(),
            home=_home(),
            environment=os.environ,
            user_data=None if user_data_dir is None else str(Path(user_data_dir).absolute()),
        ),
        extension_id=extension_id,
        command=[*command, "exam", "native-host", *_passed_on(context)],
    )
    if install:
        manifests.install(made)
        put(f"Wrote {made.manifest_path}\nWrote {made.launcher_path}")
    else:
        for path, content in ((made.manifest_path, made.manifest), (made.launcher_path, made.launcher)):
            put(f"{path}:\n\n{content}")
        say("Nothing was written. Run this again with --install.")
    if made.registry is not None:
        put(f"Now register it with the browser:\n\n{made.registry}")
    return common.CLEAN


def _policy(source: str | None, language: str | None) -> Policy:
    """The policy of a file, with the language that was asked for instead of its own."""
    policy = Policy.resolve(source)
    return policy if language is None else msgspec.structs.replace(policy, language=language)


def _detector(policy: Policy, settings: dict[str, Any], *, locate: bool, seen_before: SeenBefore = ()) -> Detector:
    """A detector that fits the policy. Raises `InputError` for everything that would fail later."""
    chosen = {option.setting for option in options.given("settings")}
    given = {name: value for name, value in settings.items() if name in chosen}
    locating = Locating() if locate else None
    detector = gatekeeper.make_detector(policy, locating=locating, **given, seen_before=seen_before)
    gatekeeper.plan(detector, policy)
    return detector


def _keys(signing_key: str | None) -> tuple[Ed25519PrivateKey, ...]:
    return () if signing_key is None else (load_signing_key(signing_key),)


def _read_request(source: str, patience: float) -> protocol.Request:
    """A request from a file, or from standard input. Raises `RequestError`."""
    with naming(source):
        if source == common.STDIN:
            return protocol.read_request(_read_input(patience))
        with common.open_input(source, RequestError, "Name a readable file.") as file:
            return protocol.read_request(file.read(protocol.REQUEST_BYTES_MAX + 1))


def _read_input(patience: float) -> bytes:
    """Standard input to its end, if that comes within `patience` seconds: a client may forget to close it."""
    received: list[bytes] = []

    def work() -> None:
        rest = protocol.REQUEST_BYTES_MAX + 1
        while rest > 0 and (piece := os.read(sys.stdin.fileno(), rest)):
            received.append(piece)
            rest -= len(piece)

    reader = threading.Thread(target=work, name="request", daemon=True)
    reader.start()
    reader.join(patience)
    if reader.is_alive():
        raise RequestError("standard input did not end in time.", advice="Close it after writing the request.")
    return b"".join(received)


def _take_over_output() -> int:
    """A descriptor for frames alone. What anything else prints from here on must not reach the browser."""
    sys.stdout.flush()
    talking = os.dup(sys.stdout.fileno())
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
    return talking


def _write_frame(descriptor: int, message: protocol.ErrorResponse) -> None:
    """Write one message before the conversation begins; if the browser is gone already, nothing is lost."""
    with contextlib.suppress(OSError):
        os.write(descriptor, native_messaging.frame(encode(message)))


def _system() -> manifests.System:
    if sys.platform not in list(manifests.System):
        raise InputError(
            f"--browser: the folder for native-messaging hosts is not known on {sys.platform}.",
            advice="Copy what this command shows on Linux to your browser's folder.",
        )
    return manifests.System(sys.platform)


def _home() -> str:
    try:
        return str(Path.home())
    except RuntimeError as error:
        raise click.UsageError("No home directory is known: set HOME to that of the browser's user.") from error


def _passed_on(context: click.Context) -> Sequence[str]:
    """The options of the host among those given to this command, with paths made absolute."""
    hosts = {param.name for param in native_host.params}
    words: list[str] = []
    for param in context.command.params:
        if not isinstance(param, options.Option) or param.name not in hosts or not param.was_given(context):
            continue
        value = (
            context.meta.get(options.GIVEN, {}).get(param.opts[0]) if param.setting else context.params.get(param.name)
        )
        if value is True:
            words.append(param.opts[0])
        elif value is not None and value is not False:
            for one in value if isinstance(value, tuple) else (value,):
                words += [param.opts[0], _anywhere(param, str(one))]
    return words


def _anywhere(param: options.Option, value: str) -> str:
    """Return the value of an option with a path that is valid in any directory."""
    location = value.removeprefix(FILE_PREFIX)
    if param.name == "proxy" and location != value and "://" not in location:
        return f"{FILE_PREFIX}{Path(location).absolute()}"
    is_path = param.name in _PATHS and value != SHIPPED and not value.startswith((VENDOR, WITNESS_PREFIX))
    return str(Path(value).absolute()) if is_path else value
