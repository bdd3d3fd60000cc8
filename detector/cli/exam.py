"""`detector exam`: the gate at exam start, for clients that are not written in Python.

Room: cli.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from detector.errors import InputError, RequestError
from detector.exam import gatekeeper, native_messaging, protocol
from detector.exam import manifest as manifests
from detector.exam.policy import DEADLINE_LEAST, Action, Policy
from detector.model import encode
from detector.trust.key_files import load_signing_key

from . import common

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector.exam.decision import Decision
    from detector.session.session import Detector
    from detector.session.settings import SeenBefore

_EXIT: Final = {Action.ALLOW: common.CLEAN, Action.WARN: common.CLEAN, Action.BLOCK: common.INCONCLUSIVE}
"""0 where the exam may begin, 3 where it may not. Never 1: that a server was not confirmed accuses nobody."""

_PATHS: Final = frozenset({"policy", "signing_key", "pins", "roots", "add_roots", "ct_logs"})
"""Options whose values are paths: a browser starts the host in a directory of its own choice."""


def _probing(*without: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command with what says how to probe: --policy, and the common options `without` these."""
    absent = {"format": common.Format.JSON.value, "output": None}

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        decorated = common.common(command)

        @functools.wraps(command)
        def wrapper(**given: Any) -> Any:  # noqa: ANN401 - click passes what the options declare
            return decorated(**{name: absent[name] for name in without}, **given)

        offered = decorated.__click_params__  # type: ignore[attr-defined] # where click keeps the options
        wrapper.__click_params__ = [o for o in offered if o.name not in without]  # type: ignore[attr-defined] # see above
        policy = click.option("--policy", metavar="FILE", help="Exam policy (TOML); without it the default one.")
        key = click.option("--signing-key", metavar="PEM", help="Sign the evidence with this Ed25519 key (PKCS #8).")
        return policy(key(wrapper))

    return decorate


@click.group()
def exam() -> None:
    """Say whether an exam may start on this network (docs/exam-gate.md)."""


@exam.command()
@click.option("--request", metavar="FILE|-", help="Request (JSON) to answer; - reads it from standard input.")
@click.option("--bundle", metavar="FILE", help="Write the evidence there besides, for `detector verify`.")
@common.known_history_option
@_probing("format")
@click.pass_obj
def gate(  # noqa: PLR0913 - one parameter per option
    started: float | None,
    *,
    options: common.Options,
    policy: str | None,
    signing_key: str | None,
    request: str | None,
    bundle: str | None,
    place: str | None,
) -> int:
    """Probe this network once and answer with one line of JSON.

    Exit code: 0 the exam may begin (allow, or warn), 3 it may not (block: the exam server was not confirmed), 2 bad
    usage, policy, pins or request, 70 a fault of this program, 74 no room to write, 130 interrupted.
    """
    common.refuse_one_place_for_two(options.output, bundle)
    chosen = Policy.resolve(policy)
    asked = protocol.read_request(_request_octets(request, chosen.deadline)) if request else protocol.Request()
    if asked.task is not protocol.Task.GATE:
        raise RequestError("The request is to cancel something.", advice="End this process instead.")
    keys = _keys(signing_key)
    with contextlib.ExitStack() as stack:
        history = None if place is None else stack.enter_context(common.open_history(place))
        detector = _detector(chosen, options, seen_before=common.seen_before(history))
        evidence = None if bundle is None else stack.enter_context(common.result_stream(bundle))
        stream = stack.enter_context(common.result_stream(options.output))
        spent = 0.0 if started is None else time.monotonic() - started
        asked = msgspec.structs.replace(
            asked, deadline=max((asked.deadline or chosen.deadline) - spent, DEADLINE_LEAST)
        )
        decision = asyncio.run(_decide(asked, chosen, detector, keys))
        if evidence is not None:
            evidence.write(decision.evidence.decode("utf-8"))
        stream.write(encode(protocol.response(decision, asked)).decode("utf-8") + "\n")
    common.warn_of_age(decision.report.knowledge, decision.report.finished)
    return _EXIT[decision.action]


@exam.command("native-host")
@_probing("format", "output")
def native_host(*, options: common.Options, policy: str | None, signing_key: str | None) -> int:
    """Answer a browser extension over standard input and output (native messaging).

    A browser starts this; `detector exam manifest` tells it how. It ends when the browser closes the port.
    """
    talking = _take_over_output()
    try:
        chosen = Policy.resolve(policy)
        keys = _keys(signing_key)
        detector = _detector(chosen, options)
    except InputError as error:
        _write_frame(talking, protocol.error_response(error, protocol.ErrorCode.BAD_INPUT))
        raise
    decide = functools.partial(_decide, policy=chosen, detector=detector, keys=keys)
    asyncio.run(native_messaging.serve(decide, reading=sys.stdin.fileno(), writing=talking))
    return common.CLEAN


@exam.command()
@click.option(
    "--browser", type=click.Choice([b.value for b in manifests.Browser]), required=True, help="Who will start the host."
)
@click.option("--extension-id", required=True, metavar="ID", help="The one extension that may talk to it.")
@click.option("--install", is_flag=True, help="Write both files for this user instead of showing them.")
@click.option("--user-data-dir", metavar="DIR", help="For a browser that is started with this option, not Firefox.")
@_probing("format", "output")
@click.pass_context
def manifest(  # noqa: PLR0913 - one parameter per option
    context: click.Context,
    *,
    options: common.Options,
    policy: str | None,
    signing_key: str | None,
    browser: str,
    extension_id: str,
    install: bool,
    user_data_dir: str | None,
) -> int:
    """Make the files that let a browser start the native-messaging host, with the options given here.

    Shows them; with --install writes them. On Windows the command that enters them into the registry is shown too.
    """
    chosen = Policy.resolve(policy)
    _keys(signing_key)
    _detector(chosen, options)  # what cannot be used is told to who installs it, not to the student
    made = manifests.files(
        manifests.Place(
            browser=manifests.Browser(browser),
            system=_system(),
            home=_home(),
            environment=os.environ,
            user_data=None if user_data_dir is None else str(Path(user_data_dir).absolute()),
        ),
        extension_id=extension_id,
        command=[sys.executable, "-P", "-m", "detector", "exam", "native-host", *_passed_on(context)],
    )
    if install:
        manifests.install(made)
        click.echo(f"Wrote {made.manifest_path}\nWrote {made.launcher_path}")
    else:
        for path, content in ((made.manifest_path, made.manifest), (made.launcher_path, made.launcher)):
            click.echo(f"{path}:\n\n{content}")
        common.say("Nothing was written. Run this again with --install.")
    if made.registry is not None:
        click.echo(f"Now make it known to the browser:\n\n{made.registry}")
    return common.CLEAN


def _detector(policy: Policy, options: common.Options, *, seen_before: SeenBefore = ()) -> Detector:
    """A detector that fits the policy. Raises `InputError` for everything that would fail later."""
    detector = gatekeeper.make_detector(policy, **common.settings(options, seen_before=seen_before))
    gatekeeper.plan(detector, policy)
    return detector


def _keys(signing_key: str | None) -> tuple[Ed25519PrivateKey, ...]:
    return () if signing_key is None else (load_signing_key(signing_key),)


async def _decide(
    request: protocol.Request, policy: Policy, detector: Detector, keys: Sequence[Ed25519PrivateKey]
) -> Decision:
    return await gatekeeper.serve_request(request, policy=policy, detector=detector, keys=keys)


def _request_octets(source: str, patience: float) -> bytes:
    """The octets of a request, from a file or standard input. Raises `RequestError`."""
    if source == "-":
        return _read_input(patience)
    try:
        with Path(source).open("rb") as file:
            return file.read(protocol.REQUEST_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RequestError(f"--request {source}: cannot be read ({reason}).", advice="Name a readable file.") from error


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
        raise RequestError(
            "--request -: standard input did not end in time.", advice="Close it after writing the request."
        )
    return b"".join(received)


def _take_over_output() -> int:
    """A descriptor of its own for frames. What anything else prints from here on must not reach the browser."""
    sys.stdout.flush()
    talking = os.dup(sys.stdout.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return talking


def _write_frame(descriptor: int, message: protocol.ErrorResponse) -> None:
    """One message before there is a conversation. If the browser is gone already, nobody misses it."""
    try:
        os.write(descriptor, native_messaging.frame(encode(message)))
    except OSError:
        return


def _system() -> manifests.System:
    if sys.platform not in list(manifests.System):
        raise InputError(
            f"--browser: on {sys.platform} it is not known where browsers look for hosts.",
            advice="Copy what this command shows on Linux to where your browser looks.",
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
        value = context.params[param.name] if param.name in hosts else None
        if value is None or value == param.get_default(context) or value == ():
            continue
        if value is True:
            words.append(param.opts[0])
            continue
        for one in value if isinstance(value, tuple) else (value,):
            words += [param.opts[0], str(Path(one).absolute()) if param.name in _PATHS else str(one)]
    return words
