"""The options that commands share, each declared once, and how help lists them.

Room: cli.

What a command receives it declares as the defaults of its parameters: `deadline: float = options.deadline()`. An
option with a `setting` is a keyword argument of `Detector`: every command that makes one passes all of them on as
`settings`, so a new one is declared only below `_NETWORK`.
"""

from __future__ import annotations

import enum
import functools
import inspect
import itertools
import math
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from detector.aio.lazy import LazyModule
from detector.errors import DetectorError
from detector.language import check as check_language
from detector.model import Confidence, Detail
from detector.pins.target import CONNECT_TO, RESOLVE, parse_rule
from detector.session.plan import HELLO_CHOICES, MACHINE
from detector.session.session import DEADLINE_DEFAULT
from detector.session.settings import PROBES_MAX
from detector.version import VERSION

from . import streams, values
from .stderr import LOG, configure_logging

if TYPE_CHECKING:
    import difflib
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

else:
    difflib = LazyModule("difflib")

SECTIONS: Final = (
    "Targets", "Browser", "Service", "Probing", "Pins and trust", "Result", "Reporting", "Other options"
)  # fmt: skip
"""Sections of a command's help, in order; the last is for what every command has."""
TARGETS, BROWSER, SERVICE, PROBING, TRUST, RESULT, REPORTING, OTHER = SECTIONS
_VERBOSITY: Final = "detector.verbosity"
"""In `click.Context.meta`, which a command has in common with its groups: how often -v was given to any of them."""
GIVEN: Final = "detector.given"
"""In `click.Context.meta`: the value of each option that is a setting and was given, by its flag."""
_JSON: Final = "detector.json"
"""In `click.Context.meta`: whether --json was given."""
DEADLINE_LONGEST: Final = 3600.0
"""Seconds; longer observation is what `watch` is for."""

INFO: Final = 2
DEBUG: Final = 3
"""How often -v is given for the log of these levels; once is for the evidence in the result."""

Member = TypeVar("Member", bound=str)
T = TypeVar("T")


class Format(enum.StrEnum):
    """Output formats."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    HTML = "html"
    CSV = "csv"
    PROMETHEUS = "prometheus"
    ECS = "ecs"
    OCSF = "ocsf"
    CEF = "cef"
    SYSLOG = "syslog"
    SARIF = "sarif"
    TEXT = "text"


class Output(NamedTuple):
    """The result of a command: its format, how much it says for people, in which language, and its file if any."""

    form: Format
    detail: Detail = Detail.SUMMARY
    language: str | None = None
    file: str | None = None


SIEM_LINES: Final = (Format.ECS, Format.OCSF, Format.CEF, Format.SYSLOG)
"""Formats with a line for each result (docs/siem.md)."""


class Option(click.Option):
    """An option that help lists in its `section`.

    With a `setting` the command receives it in the dictionary `into`, under that name, or under the option's if True.
    `field` is what messages call it where that is neither this setting nor its name.
    """

    def __init__(
        self,
        *flags: Any,  # noqa: ANN401 - click passes values of any type here
        section: str = OTHER,
        setting: str | bool = False,
        into: str = "settings",
        field: str = "",
        **attributes: Any,  # noqa: ANN401 - click passes values of any type here
    ) -> None:
        self._convert = attributes.get("callback")
        if setting:
            attributes |= {"expose_value": False, "callback": self._collect}
        super().__init__(*flags, **attributes)
        self.section = section
        self.setting = str(self.name) if setting is True else str(setting or "")
        self.into = into
        self.field = field or self.setting

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The value in the environment, where the variable is called after the option: DETECTOR_CHECK_DEADLINE."""
        flag = max(self.opts, key=len).lstrip("-").replace("-", "_").upper()
        return os.environ.get(str(self.envvar or f"{ctx.auto_envvar_prefix}_{flag}")) or None

    def _collect(self, context: click.Context, _: click.Parameter, value: Any) -> None:  # noqa: ANN401 - click passes values of any type here
        """Add a value that was given to the command's `settings`; without one the default of `Detector` holds."""
        if self._convert is not None:
            value = self._convert(context, self, value)
        settings = context.params.setdefault(self.into, {})
        if value not in (None, ()):
            settings[self.setting] = (*settings.get(self.setting, ()), *value) if self.multiple else value
            context.meta.setdefault(GIVEN, {})[self.opts[0]] = value

    def was_given(self, context: click.Context) -> bool:
        """Whether the value comes from the command line, the environment or a configuration file."""
        return context.get_parameter_source(str(self.name)) is not click.core.ParameterSource.DEFAULT


def given(into: str) -> list[Option]:
    """The options of the current command that were given and that it receives in the dictionary of this name."""
    context = click.get_current_context()
    every = (one for one in context.command.params if isinstance(one, Option) and one.into == into)
    return [one for one in every if one.was_given(context)]


class Command(click.Command):
    """A command whose help lists options by section, then examples, and that takes -v."""

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 - click passes values of any type here
        examples: Sequence[str] = (),
        **attributes: Any,  # noqa: ANN401 - click passes values of any type here
    ) -> None:
        super().__init__(*arguments, **attributes)
        declared = getattr(inspect.unwrap(self.callback), "__kwdefaults__", None) if self.callback else None
        self.params += [make(name) for name, makes in (declared or {}).items() for make in makes]
        self.examples = examples
        self.context_settings = {"help_option_names": ["-h", "--help"], **self.context_settings}
        words = "Show the evidence; twice: also log to standard error; three times: in detail, with tracebacks."
        verbosity: dict[str, Any] = {"count": True, "expose_value": False, "is_eager": True, "callback": _be_verbose}
        self.params.append(Option(["-v", "--verbose"], help=words, **verbosity))
        for parameter in self.params:
            if parameter.type is click.STRING:
                parameter.type = values.VALUE

    def get_help(self, ctx: click.Context) -> str:
        """The help, in characters that standard output takes: click would write UTF-8 where the locale is ASCII."""
        return streams.encodable(super().get_help(ctx))

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click passes values of any type here
        """Run the command; its arguments, which may contain credentials, are not logged.

        What names a setting by its field in Python names the option instead.
        """
        LOG.info("%s, version %s", ctx.command_path, VERSION)
        if (out := ctx.params.get("out")) is not None:
            ctx.params["out"] = Output(**out)
        try:
            return super().invoke(ctx)
        except DetectorError as error:
            error.message = _naming_the_option(error.message, ctx)
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section that has an option."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in SECTIONS}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (row := parameter.get_help_record(ctx)) is not None:
                sections[getattr(parameter, "section", OTHER)].append(row)
        _write_sections(formatter, sections)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, each on a line that can be copied."""
        del ctx
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def _naming_the_option(message: str, context: click.Context) -> str:
    """The message of an error, with the option in place of the field, or before the value, that it begins with.

    One word may precede the value ("Key server.pem: ...").
    """
    field, colon, rest = message.partition(": ")
    for parameter in context.command.params:
        if isinstance(parameter, Option):
            flag = max(parameter.opts, key=len)
            if message.startswith(f"{flag} "):
                return message
            if colon and field and field == parameter.field:
                return f"{flag}: {rest}"
            given = context.params.get(parameter.into) if parameter.setting else context.params
            values = given.get(parameter.setting or str(parameter.name)) if isinstance(given, dict) else None
            for value in values if isinstance(values, tuple) else (values,):
                if isinstance(value, str) and value and message.startswith((f"{value}:", f"{value}/")):
                    return f"{flag} {message}"
                if isinstance(value, str) and value and message.partition(" ")[2].startswith(f"{value}:"):
                    return f"{flag}: {message}"
    return message


class Group(Command, click.Group):
    """A command with subcommands, which help lists by section."""

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 - click passes values of any type here
        sections: Mapping[str, Sequence[str]],
        **attributes: Any,  # noqa: ANN401 - click passes values of any type here
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.sections = sections

    def subcommand(self, *examples: str, **attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:  # noqa: ANN401 - as above
        """Make a command of this group of a function; help ends with the examples."""
        return self.command(cls=Command, examples=examples, **attributes)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the subcommands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section of subcommands."""
        del ctx
        width = formatter.width - 6 - max(map(len, self.commands))
        rows = {
            title: [(name, self.commands[name].get_short_help_str(width)) for name in names]
            for title, names in self.sections.items()
        }
        _write_sections(formatter, rows)


def command(*examples: str, cls: type[Command] = Command, **attributes: Any) -> Callable[[Callable[..., Any]], Command]:  # noqa: ANN401 - as above
    """Make a command of a function; help ends with the examples."""
    return click.command(cls=cls, examples=examples, **attributes)


def group(*examples: str, **attributes: Any) -> Callable[[Callable[..., Any]], Group]:  # noqa: ANN401 - as above
    """Make a group of commands of a function, which the group's own options call; help ends with the examples."""
    return click.group(cls=Group, examples=examples, **attributes)


def _write_sections(formatter: click.HelpFormatter, sections: dict[str, list[tuple[str, str]]]) -> None:
    """Write the sections that have rows."""
    for title, rows in sections.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def _be_verbose(context: click.Context, _: click.Parameter, count: int) -> None:
    verbosity = context.meta[_VERBOSITY] = context.meta.get(_VERBOSITY, 0) + count
    if verbosity >= INFO:
        configure_logging("debug" if verbosity >= DEBUG else "info")


def _choose_detail(context: click.Context, _: click.Parameter, quiet: bool) -> Detail:  # noqa: FBT001 - click calls this with its own, positional signature
    """How much the command says for people. Raises click.UsageError where -q and -v are both on the command line."""
    verbose = bool(context.meta[_VERBOSITY])
    if quiet and not (verbose and _is_nearer(context, "verbose", "detail", "-q and -v exclude each other.")):
        return Detail.VERDICT
    return Detail.EVIDENCE if verbose else Detail.SUMMARY


def _is_nearer(context: click.Context, one: str, other: str, conflict: str) -> bool:
    """Whether the parameter `one` was set nearer to the command line than `other`.

    Raises click.UsageError with the message `conflict` where both were set in the same place.
    """
    order = click.core.ParameterSource
    places = (order.COMMANDLINE, order.ENVIRONMENT, order.DEFAULT_MAP, order.DEFAULT)
    first, second = (places.index(context.get_parameter_source(name) or order.DEFAULT) for name in (one, other))
    if first == second:
        raise click.UsageError(conflict)
    return first < second


class Choice(click.Choice[Member]):
    """One of some members of an enumeration, written as its value. What resembles one is corrected in the error."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        """What is written for a member; click would take its name."""
        del ctx
        return str(choice)

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:
        """What is wrong with a value: the one that it resembles, or all that exist."""
        near = difflib.get_close_matches(str(value)[:80], map(str, self.choices), n=1)
        suggestion = f"{str(value)[:80]!r} is unknown. Did you mean {near[0]!r}?" if near else ""
        return suggestion or super().get_invalid_choice_message(value, ctx)


def option(flags: str, words: str, *, section: str = OTHER, **attributes: Any) -> Any:  # noqa: ANN401 - click passes values of any type here, and parameters have any type
    """Declare an option by its names and its help text: what makes it, given the name of the command's parameter."""
    attributes.setdefault("show_default", attributes.get("default") not in (None, ""))
    if isinstance(attributes.get("type"), click.IntRange | click.FloatRange):
        attributes.setdefault("metavar", "N")

    def make(receiver: str) -> Option:
        # An option of `out` is called after its setting; any other setting after its flag.
        name = attributes.get("setting", receiver) if receiver == "out" else receiver
        is_named = "expose_value" not in attributes and (receiver == "out" or not attributes.get("setting"))
        return Option(flags.split() + [name] * is_named, into=receiver, section=section, help=words, **attributes)

    return (make,)


def argument(**attributes: Any) -> Any:  # noqa: ANN401 - as above
    """Declare an argument, which messages and help call by its `metavar`."""
    return (lambda receiver: click.Argument([receiver], **attributes),)


target: Final = functools.partial(option, section=TARGETS)
browser: Final = functools.partial(option, section=BROWSER)
service: Final = functools.partial(option, section=SERVICE)
probing: Final = functools.partial(option, section=PROBING)
trusting: Final = functools.partial(option, section=TRUST)
result: Final = functools.partial(option, section=RESULT)


def _report(setting: str, words: str, *, flag: str = "", **attributes: Any) -> Any:  # noqa: ANN401 - as above
    flag = flag or f"--report-{setting.replace('_', '-')}"
    return option(flag, words, section=REPORTING, setting=setting, **attributes)


def together(*declarations: Iterable[Any]) -> Any:  # noqa: ANN401 - as above
    """Make one declaration of several."""
    return tuple(itertools.chain.from_iterable(declarations))


def settings(*, only: Collection[str] = (), without: Collection[str] = (), proxy: str = MACHINE) -> Any:  # noqa: ANN401 - as above
    """Give a command the options that are keyword arguments of `Detector`; it receives them as `settings`.

    Args:
        only: names of the options that the command has; all of them if empty.
        without: names of options that the command does not have.
        proxy: default of --proxy.
    """
    declared = {**_NETWORK, "proxy": _proxy(proxy)}
    return together(*(declared[name] for name in declared if name in (only or declared) and name not in without))


class Parsed(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """What a function makes of a word; the ValueError that it raises says what is wrong with it."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return what the word stands for; fails as options do."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            return self.fail(str(error), param, ctx)


def _rule(form: str) -> Parsed:
    """Where to connect instead of resolving a name, in one form; validated, and passed on unchanged."""

    def parse(rule: str) -> str:
        parse_rule(rule, (form,))
        return rule

    return Parsed("rule", parse)


def _proxy(default: str) -> Any:  # noqa: ANN401 - as above
    return probing(
        "--proxy",
        "Proxy to use: an http, https, socks4a or socks5 URL, or where it is configured.",
        setting=True,
        default=default,
        metavar="URL|system|env|pac:FILE|none",
    )


_NETWORK: Final = {
    "data": trusting(
        "--data", "Folder of installed data sets, or what this package ships.", setting=True, metavar="DIR|shipped"
    ),
    "pins": trusting(
        "--pins",
        "Pin file, directory of them, or the installed pins of a vendor (vendor:NAME); repeatable.",
        setting=True,
        multiple=True,
        metavar="FILE|DIR",
    ),
    "roots": trusting("--roots", "Public roots to use instead of the data set's.", setting=True, metavar="PEM"),
    "add-roots": trusting("--add-roots", "Additional public roots.", setting=True, metavar="PEM"),
    "ct-logs": trusting(
        "--ct-logs",
        "Known CT logs, Google log list v3 JSON, instead of the data set's.",
        setting="logs",
        metavar="FILE",
    ),
    "proxy": _proxy(MACHINE),
    "resolve": probing(
        "--resolve",
        "Connect to this address for this host and port, as curl does; repeatable.",
        setting=True,
        multiple=True,
        type=_rule(RESOLVE),
        metavar=RESOLVE,
    ),
    "connect-to": probing(
        "--connect-to",
        "Connect to HOST2:PORT2 for HOST1:PORT1, as curl does; repeatable.",
        setting="resolve",
        multiple=True,
        type=_rule(CONNECT_TO),
        metavar=CONNECT_TO,
    ),
    "offline": probing("--offline", "Contact nothing but the endpoints themselves.", setting=True, is_flag=True),
    "vantage": result("--vantage", "Your name for the place this runs from.", setting=True, default="", metavar="NAME"),
}
variants: Final = together(
    probing(
        "--route",
        "Routes to use: all, or some of direct, direct4, direct6, proxy. Default: the proxy where one is set.",
        setting=True,
        metavar="ROUTE[,ROUTE...]",
    ),
    probing(
        "--all-addresses",
        "Probe every address of each host, and its RSA and its ECDSA certificate.",
        setting=True,
        is_flag=True,
    ),
    probing("--quic", "Also probe over QUIC, and compare (extra quic).", setting=True, is_flag=True),
    probing(
        "--hello",
        "ClientHello to send: Chrome's, Firefox's, OpenSSL's, or both to compare Chrome's and OpenSSL's.",
        setting=True,
        type=Choice(HELLO_CHOICES),
        default=HELLO_CHOICES[0],
    ),
    probing(
        "--probes",
        "Probes of each endpoint, on fresh connections, the last one after everything else.",
        setting=True,
        type=click.IntRange(1, PROBES_MAX),
    ),
    probing("--spread", "Distribute these probes over the deadline.", setting=True, is_flag=True),
)
"""Which routes and variants are probed, and how often: the keys of an exam policy that say so."""
locate: Final = probing("--locate", "Trace the hop at which TLS that does not look genuine is answered.", is_flag=True)
trust: Final = settings(only=("data", "roots", "add-roots", "ct-logs"))
"""What commands that assess recorded evidence need of these."""

days: Final = target("--days", "Only the last days.", type=click.IntRange(1, 36500))
targets: Final = argument(nargs=-1, metavar="[HOST[:PORT]]...")
_file: Final = functools.partial(
    result, "-o --output", "Write the result to this file instead of standard output.", metavar="FILE"
)
output: Final = _file()


def _known_language(_: click.Context, __: click.Parameter, tag: str | None) -> str | None:
    return None if tag is None else check_language(tag, "--language")


_language: Final = functools.partial(
    result, "--language", "Language of what students read, such as en or de.", metavar="TAG", callback=_known_language
)
language: Final = _language()
WAITING: Final = "Folder in which reports wait, instead of your own."

collector: Final = together(
    _report("to", "Report to this collector (docs/reporting.md).", metavar="URL"),
    _report(
        "receipt_key",
        "The collector's public key, a PEM file or ed25519/<base64>; repeatable.",
        multiple=True,
        metavar="KEY",
    ),
    _report("pins", "Pin file for the collector; repeatable.", field="report.pins", multiple=True, metavar="FILE"),
    _report(
        "through_interceptor",
        "Whether evidence may pass an interceptor: never, or where nothing else is left.",
        type=click.Choice(["never", "if-nothing-else"]),
    ),
    _report("outbox", WAITING, flag="--outbox", metavar="DIR"),
)
"""Which collector is reported to, and from which folder."""
reporting: Final = together(
    collector,
    _report("key", "Sign reports with the institution's Ed25519 key.", metavar="PEM"),
    _report("institution", "The collector's name for the institution.", metavar="NAME"),
    _report("exam", "The collector's name for the exam.", metavar="NAME"),
    _report(
        "pseudonym_key", "Key of keyed hashes for students and networks, from `detector outbox keygen`.", metavar="FILE"
    ),
    _report("student", "Any name of the student; only a keyed hash is kept.", metavar="ID"),
    _report("network", "Your name for this network; only a keyed hash is kept.", metavar="NAME"),
)
"""As whom and about whom reports are made."""
signing_key: Final = result("--signing-key", "Sign the evidence with this Ed25519 key (PKCS #8).", metavar="PEM")
save_chain: Final = result(
    "--save-chain",
    "Also write the presented certificates as PEM, for `detector examine`; of several endpoints, each to a file in "
    "this directory.",
    metavar="FILE|DIR",
)
bundle: Final = result("--bundle", "Also write the evidence to this file, for `detector verify`.", metavar="FILE")


def _history(words: str) -> Any:  # noqa: ANN401 - as above
    return result(
        "--history", f"{words}  [env: DETECTOR_HISTORY]", envvar="DETECTOR_HISTORY", metavar="FILE|URL|default"
    )


history: Final = _history(
    "Keep runs in this history and use what it knows to be genuine: a file (SQLite) or postgresql://…"
)
kept_history: Final = _history("Keep the reports in this history: a file (SQLite) or postgresql://…")
known_history: Final = _history("Use what this history knows to be genuine; nothing is written to it.")
read_history: Final = _history("The history to read.")


def fail_on(
    words: str = "Lowest confidence of middleware that makes the exit code 1; below it the exit code is 3.",
) -> Any:  # noqa: ANN401 - as above
    """Declare --fail-on; `words` say what the lowest confidence decides there."""
    return result("--fail-on", words, type=Choice(Confidence), default="probable")


def deadline(
    words: str = "Answer within this time, counted from the start of the command.",
    *,
    longest: float = DEADLINE_LONGEST,
    shortest: float = 0.1,
    default: float = DEADLINE_DEFAULT,
) -> Any:  # noqa: ANN401 - as above
    """Declare --deadline in seconds; `words` say what must be done by then."""
    return probing("--deadline", words, type=click.FloatRange(shortest, longest), default=default, metavar="SECONDS")


duration: Final = probing(
    "--duration",
    "Stop after this time; without it, on Ctrl-C, SIGTERM or SIGHUP.",
    type=click.FloatRange(min=0, min_open=True),
    default=math.inf,
    show_default=False,
    metavar="SECONDS",
)


def _form(formats: tuple[Format, ...], flag: str) -> Any:  # noqa: ANN401 - as above
    """Declare --format and --json; the first format is the default. `flag` is the name where --format is another."""
    as_json = Format.JSON if Format.JSON in formats else Format.JSONL

    def choose(context: click.Context, _: click.Parameter, chosen: Format) -> Format:
        """Return the format; encode standard output as UTF-8 for formats that programs read."""
        conflict = f"--json and {flag} {chosen} exclude each other."
        if context.meta[_JSON] and chosen is not as_json and _is_nearer(context, "json", "form", conflict):
            chosen = as_json
        if chosen not in {Format.TABLE, Format.TEXT}:
            streams.for_programs()
        return chosen

    def note(context: click.Context, _: click.Parameter, given: bool) -> None:  # noqa: FBT001 - click calls this with its own, positional signature
        context.meta[_JSON] = given

    short: dict[str, Any] = {"is_flag": True, "is_eager": True, "expose_value": False, "callback": note}
    return together(
        result(
            flag,
            "Output format.",
            type=Choice(formats),
            default=str(formats[0]),
            callback=choose,
            setting="form",
        ),
        result("--json", f"Short for {flag} {as_json}.", **short),
    )


def _detail(**how: Any) -> Any:  # noqa: ANN401 - as above
    words = "Only the verdict, in one or two lines."
    return result("-q --quiet", words, is_flag=True, callback=_choose_detail, **how)


detail: Final = _detail()
"""How much a command says for people, which it receives as `Detail`: by -q, and by -v, which every command has."""


def written(*formats: Format, quiet: bool = True, translated: bool = False, flag: str = "--format") -> Any:  # noqa: ANN401 - as above
    """Declare what says how the result is written, which a command receives as `out`, an `Output`.

    `quiet` is whether it has -q, `translated` whether it has --language.
    """
    return together(
        _form(formats, flag),
        _detail(setting="detail") if quiet else (),
        _language(setting="language") if translated else (),
        _file(setting="file"),
    )


report: Final = written(*(form for form in Format if form is not Format.TEXT), translated=True)
record: Final = written(Format.TABLE, Format.JSON)
