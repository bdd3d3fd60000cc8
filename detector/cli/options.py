"""The options that commands share, each declared once, and how help lists them.

Room: cli.

An option with a `setting` is a keyword argument of `Detector`: every command that makes one passes all of them on as
`settings`, so a new one is declared below `_NETWORK` and nowhere else.
"""

from __future__ import annotations

import enum
import os
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from detector.model import Confidence
from detector.session.plan import MACHINE
from detector.session.session import DEADLINE_DEFAULT

from .stderr import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

SECTIONS: Final = ("Targets", "Probing", "Pins and trust", "Result", "Other options")
"""Sections of a command's help, in order."""
TARGETS, PROBING, TRUST, RESULT, OTHER = SECTIONS
DEADLINE_LONGEST: Final = 3600.0
"""Seconds; longer observation is what `watch` is for."""

Member = TypeVar("Member", bound=enum.StrEnum)


class Format(enum.StrEnum):
    """Output formats."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    HTML = "html"
    CSV = "csv"
    PROMETHEUS = "prometheus"
    TEXT = "text"


REPORT_FORMATS: Final = tuple(form for form in Format if form is not Format.TEXT)


class Option(click.Option):
    """An option that help lists in its `section`, and that may be a `setting`: a keyword argument of `Detector`."""

    def __init__(self, *flags: Any, section: str = OTHER, setting: str = "", **attributes: Any) -> None:  # noqa: ANN401 - click's
        if setting:
            attributes |= {"expose_value": False, "callback": self._collect}
        super().__init__(*flags, **attributes)
        self.section = section
        self.setting = setting

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The value in the environment, where the variable is called after the option: DETECTOR_CHECK_DEADLINE."""
        flag = max(self.opts, key=len).lstrip("-").replace("-", "_").upper()
        return os.environ.get(str(self.envvar or f"{ctx.auto_envvar_prefix}_{flag}")) or None

    def _collect(self, context: click.Context, _: click.Parameter, value: Any) -> None:  # noqa: ANN401 - click's
        """Add a value that was given to the command's `settings`; without one the default of `Detector` holds."""
        settings = context.params.setdefault("settings", {})
        if value not in (None, ()):
            settings[self.setting] = value


class Command(click.Command):
    """A command whose help lists options by section, and that takes -v."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:  # noqa: ANN401 - click's
        super().__init__(*arguments, **attributes)
        self.params.append(
            Option(
                ["-v", "--verbose"],
                count=True,
                expose_value=False,
                is_eager=True,
                callback=_be_verbose,
                help="Log to standard error; twice: in detail, with a traceback after an internal error.",
            )
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section that has an option."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in SECTIONS}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (row := parameter.get_help_record(ctx)) is not None:
                sections[getattr(parameter, "section", OTHER)].append(row)
        write_sections(formatter, sections)


class Group(Command, click.Group):
    """A command with subcommands."""

    command_class = Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the subcommands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def write_sections(formatter: click.HelpFormatter, sections: dict[str, list[tuple[str, str]]]) -> None:
    """Write the sections that have rows."""
    for title, rows in sections.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def _be_verbose(_: click.Context, __: click.Parameter, count: int) -> None:
    if count:
        configure_logging("info" if count == 1 else "debug")


class Choice(click.Choice[Member]):
    """One of some members of an enumeration, written as its value."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        """What is written for a member; click would take its name."""
        del ctx
        return str(choice)


def option(*flags: str, section: str = OTHER, **attributes: Any) -> Decorator:  # noqa: ANN401 - click's
    """Declare an option in a section of the command's help."""
    return click.option(*flags, cls=Option, section=section, **attributes)


def choice(  # noqa: PLR0913 - the parts of one option
    flag: str,
    members: Iterable[Member],
    words: str,
    *,
    name: str = "",
    section: str = RESULT,
    default: Member | None = None,
) -> Decorator:
    """Declare an option that takes a member of an enumeration; the first is the default."""
    offered = Choice(members)
    value = str(default or offered.choices[0])
    flags = (flag, name) if name else (flag,)
    return option(*flags, type=offered, default=value, show_default=True, section=section, help=words)


def together(options: Iterable[Decorator]) -> Decorator:
    """Make one decorator of several."""
    in_reverse = tuple(options)[::-1]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for declare in in_reverse:
            command = declare(command)
        return command

    return decorate


def settings(*, only: Collection[str] = (), without: Collection[str] = (), proxy: str = MACHINE) -> Decorator:
    """Give a command the options that are keyword arguments of `Detector`; it receives them as `settings`.

    Args:
        only: names of the options that the command has; all of them if empty.
        without: names of options that the command does not have.
        proxy: default of --proxy.
    """
    declared = {**_NETWORK, "proxy": _proxy(proxy)}
    return together(declared[name] for name in declared if name in (only or declared) and name not in without)


def _proxy(default: str) -> Decorator:
    return option(
        "--proxy",
        setting="proxy",
        default=default,
        show_default=True,
        metavar="URL|system|env|pac:FILE|none",
        section=PROBING,
        help="Proxy to use: an http, https, socks4a or socks5 URL, or where it is configured.",
    )


_NETWORK: Final = {
    "pins": option(
        "--pins",
        setting="pins",
        multiple=True,
        metavar="FILE|DIR",
        section=TRUST,
        help="Pin file or directory of pin files; repeatable.",
    ),
    "roots": option(
        "--roots", setting="roots", metavar="PEM", section=TRUST, help="Public roots to use instead of certifi's."
    ),
    "add-roots": option(
        "--add-roots", setting="add_roots", metavar="PEM", section=TRUST, help="Additional public roots."
    ),
    "ct-logs": option(
        "--ct-logs",
        setting="logs",
        metavar="FILE",
        section=TRUST,
        help="Known CT logs, Google log list v3 JSON, instead of the shipped ones.",
    ),
    "proxy": _proxy(MACHINE),
    "resolve": option(
        "--resolve",
        setting="resolve",
        multiple=True,
        metavar="HOST:PORT:ADDRESS:PORT",
        section=PROBING,
        help="Connect there instead, like curl --connect-to; repeatable.",
    ),
    "offline": option(
        "--offline",
        setting="offline",
        is_flag=True,
        section=PROBING,
        help="Contact nothing but the endpoints themselves.",
    ),
    "vantage": option(
        "--vantage",
        setting="vantage",
        default="",
        metavar="NAME",
        section=RESULT,
        help="Your name for the place this runs from.",
    ),
}
trust: Final = settings(only=("roots", "add-roots", "ct-logs"))
"""What commands that assess recorded evidence need of these."""

days: Final = option("--days", type=click.IntRange(1, 36500), section=TARGETS, help="Only the last days.")
targets: Final = click.argument("targets", nargs=-1, metavar="[HOST[:PORT]]...")
output: Final = option(
    "-o", "--output", metavar="FILE", section=RESULT, help="Write the result to this file instead of standard output."
)
signing_key: Final = option(
    "--signing-key", metavar="PEM", section=RESULT, help="Sign the evidence with this Ed25519 key (PKCS #8)."
)
bundle: Final = option(
    "--bundle", metavar="FILE", section=RESULT, help="Also write the evidence to this file, for `detector verify`."
)


def _history(words: str) -> Decorator:
    return option(
        "--history",
        "place",
        envvar="DETECTOR_HISTORY",
        metavar="FILE|URL|default",
        section=RESULT,
        help=f"{words}  [env: DETECTOR_HISTORY]",
    )


history: Final = _history(
    "Keep runs in this history and use what it knows to be genuine: a file (SQLite) or postgresql://…"
)
known_history: Final = _history("Use what this history knows to be genuine; nothing is written to it.")


def fail_on(words: str) -> Decorator:
    """Declare --fail-on; `words` say what the lowest confidence decides there."""
    return choice("--fail-on", Confidence, words, default=Confidence.PROBABLE)


def deadline(
    words: str, *, longest: float = DEADLINE_LONGEST, shortest: float = 0.1, default: float = DEADLINE_DEFAULT
) -> Decorator:
    """Declare --deadline in seconds; `words` say what must be done by then."""
    return number("--deadline", click.FloatRange(shortest, longest), default, words, section=PROBING, metavar="SECONDS")


def number(
    flag: str,
    type_: click.IntRange | click.FloatRange,
    default: float | None,
    words: str,
    **attributes: Any,  # noqa: ANN401 - click's
) -> Decorator:
    """Declare an option that takes a number in a range."""
    return option(flag, type=type_, default=default, show_default=default is not None, help=words, **attributes)


def form(formats: Iterable[Format] = (Format.TABLE, Format.JSON)) -> Decorator:
    """Declare --format, which the command receives as `form`; the first is the default."""
    return choice("--format", formats, "Output format.", name="form")
