"""Write what is made of the command lines: pages of docs/, the man pages and the completion scripts under share/.

Room: scripts. For maintainers; a test compares every file. Reads the trees of commands, writes docs/ and share/.

    python scripts/build_cli_reference.py
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from detector_collect.cli import collect

from detector.cli import INTERNAL_ERROR, RESULT_LOST, TERMINAL_CLOSED, common, completion, detector, options
from detector.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = "docs/cli.md"
COLLECTOR_PAGE: Final = "docs/collect-cli.md"
MAN: Final = "share/man/man1"
COMPLETIONS: Final = {
    "bash": "share/bash-completion/completions/detector",
    "zsh": "share/zsh/site-functions/_detector",
    "fish": "share/fish/vendor_completions.d/detector.fish",
}
"""Where each shell searches below a prefix such as /usr/local."""
WIDTH: Final = 100
"""Columns of the help texts."""
LINE: Final = 60
"""Characters of a line of roff, before escapes: mandoc asks for at most 80 with them."""
HEAD: Final = """# Command line

Generated from the commands by `scripts/build_cli_reference.py`; below the same texts as `--help`.

## Targets

A target is `HOST`, `HOST:PORT` (an IPv6 address with a port as `[ADDRESS]:PORT`) or a URL as pasted from a browser or a
mail: quotes and angle brackets around it, user name, password, path and query are dropped and never shown. Without
a port that of the scheme is probed: 443 for https and wss, 993 for imaps, 995 for pop3s, 465 for smtps, 636 for ldaps,
990 for ftps, and others whose connections begin with TLS. The same holds for lists of targets, exam policies and the
Python API.

A URL with `http://` is refused: what it names has no TLS to check, and a result for another port would answer another
question. To check the TLS of such a host, name the host alone. Mail addresses and networks are refused with a sentence.

`--resolve HOST:PORT:ADDRESS` and `--connect-to HOST1:PORT1:HOST2:PORT2` are curl's, with one address for each host and
port, and without wildcards.

## How much is said

| option | what is written |
|---|---|
| `-q`, `--quiet` | the verdict alone, in one or two lines |
| (none) | the verdict, what to do, and a summary |
| `-v` | also the evidence |
| `-vv` | also a log on standard error |
| `-vvv` | the log in detail, with a traceback after an internal error |

These decide about what people read. JSON and the other formats for programs always hold everything; `--json` is short
for `--format json`, or for `--format jsonl` where a command writes one line for each result. `DETECTOR_LOG=debug` logs
as `-vvv` does and `DETECTOR_LOG=info` as `-vv`, for a program that is started by another one.

## Configuration file and environment

Every option has a name in the configuration file and one in the environment. `detector pins learn --expires-in 60` is

```toml
[pins.learn]
expires_in = 60
```

in the file, and `DETECTOR_PINS_LEARN_EXPIRES_IN=60` in the environment: `DETECTOR_`, the command and the option in
capitals, with `_` for every other character. A switch is `true` or `false` there, or `1` or `0`. An option that can be
repeated is a list in the file; in the environment blanks separate its values. The command line takes precedence over
the environment, the environment over the file. An unknown command or key in the file is refused, with the one that was
probably meant. The file is `detector.toml` in your configuration directory, or what `--config` or `DETECTOR_CONFIG`
names. For `--history` there is also `DETECTOR_HISTORY`, which holds for all commands.

## Commands
"""
COLLECTOR_HEAD: Final = """# Command line of the collector

Generated from the commands by `scripts/build_cli_reference.py`; below the same texts as `--help`. Where the collector
is installed, `detector collect` is the same program as `detector-collect`.

`DETECTOR_COLLECT_DATABASE` names the database for all commands. Other options have a variable each, named after the
command: `DETECTOR_COLLECT_KEY_ADD_RATE=60`. Keep the database's password in `~/.pgpass` or `PGPASSWORD`, not in the
URL: other users of a machine can read command lines.

Exit codes: 0 done, 2 invalid usage or input, or a database that cannot be used, 70 an internal error, 74 no room,
130 interrupted.

## Commands
"""
EXIT_CODES: Final = {
    common.CLEAN: "Clean, or done.",
    common.MIDDLEWARE: "Middleware, at or above --fail-on. Of `verify`, `diff` and `roots audit`: something was found.",
    common.BAD_INPUT: "Invalid usage, pin files or input, or an extra that is not installed.",
    common.INCONCLUSIVE: "Inconclusive, or middleware below --fail-on. Of `exam gate`: the exam may not begin.",
    INTERNAL_ERROR: "Internal error; says nothing about the network.",
    RESULT_LOST: "No room for the result, or it could not be written.",
    "129, 130, 143": "Hung up, interrupted, terminated.",
    TERMINAL_CLOSED: "The reader of the output closed it.",
}
"""Exit codes, and what they mean for most commands."""


def files() -> dict[str, str]:
    """Every generated file, by its path in the repository."""
    contexts = [*_contexts(detector, None, "detector")]
    man_pages = {f"{MAN}/{_dashed(context)}.1": "".join(_man_page(context, contexts)) for context in contexts}
    scripts = {path: completion.script(shell) for shell, path in COMPLETIONS.items()}
    collector = "".join(map(_section, _contexts(collect, None, "detector-collect")))
    pages = {PAGE: HEAD + "".join(map(_section, contexts)), COLLECTOR_PAGE: COLLECTOR_HEAD + collector}
    return {**pages, **man_pages, **scripts}


def _contexts(command: click.Command, parent: click.Context | None, name: str) -> Iterator[click.Context]:
    """A context for the command and each of its subcommands, depth first."""
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, parent, info_name=name, **settings)
    yield context
    if isinstance(command, click.Group):
        for subcommand in command.commands:
            yield from _contexts(command.commands[subcommand], context, subcommand)


def _section(context: click.Context) -> str:
    """The section of a command on the page."""
    text = "\n".join(line.rstrip() for line in context.command.get_help(context).splitlines())
    return f"\n### {context.command_path}\n\n```text\n{text}\n```\n"


def _man_page(context: click.Context, contexts: list[click.Context]) -> Iterator[str]:
    """The man page of a command, in the macros of man(7)."""
    command = context.command
    pieces = " ".join(command.collect_usage_pieces(context))
    paragraphs = re.split(r"\n\s*\n", (command.help or "").replace("\b\n", "").strip())
    yield '.\\" Generated by scripts/build_cli_reference.py.\n'
    yield f'.TH {_roff(_dashed(context).upper())} 1 "" "detector {VERSION}" "TLS interception detector"\n.nh\n.ad l\n'
    yield f".SH NAME\n{_paragraph(f'{_dashed(context)} - {paragraphs[0]}'.rstrip('.'))}\n"
    yield f".SH SYNOPSIS\n\\fB{_roff(context.command_path)}\\fR {_roff(pieces)}\n"
    yield ".SH DESCRIPTION\n" + ".PP\n".join(f"{_paragraph(paragraph)}\n" for paragraph in paragraphs)
    for title, rows in _options(context).items():
        yield f'.SH "{title.upper()}"\n' + "".join(_item(_flags(flags), words) for flags, words in rows)
    yield from _subcommands(context)
    if examples := getattr(command, "examples", ()):
        yield ".SH EXAMPLES\n.nf\n" + "".join(f"{_roff(example)}\n" for example in examples) + ".fi\n"
    if context.parent is None:
        yield '.SH "EXIT STATUS"\n' + "".join(_item(f"\\fB{code}\\fR", words) for code, words in EXIT_CODES.items())
    relatives = (other for other in contexts if context.parent is other or other.parent is context)
    if seen := ", ".join(f"\\fB{_roff(_dashed(other))}\\fR(1)" for other in relatives):
        yield f'.SH "SEE ALSO"\n{seen}\n'


def _options(context: click.Context) -> dict[str, list[tuple[str, str]]]:
    """The options by section of the help."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in context.command.get_params(context):
        if isinstance(parameter, click.Option) and (row := parameter.get_help_record(context)) is not None:
            sections.setdefault(getattr(parameter, "section", options.OTHER), []).append(row)
    return {title: sections[title] for title in options.SECTIONS if title in sections}


def _subcommands(context: click.Context) -> Iterator[str]:
    """The commands of a group, by section."""
    if isinstance(context.command, options.Group):
        commands = context.command.commands
        for title, names in context.command.sections.items():
            rows = ((name, commands[name].get_short_help_str(10 * WIDTH)) for name in names)
            yield f'.SH "{title.upper()}"\n' + "".join(_item(f"\\fB{_roff(name)}\\fR", words) for name, words in rows)


def _item(tag: str, words: str) -> str:
    """One entry of a list; `tag` is roff."""
    return f".TP\n{tag}\n{_paragraph(words)}\n"


def _flags(record: str) -> str:
    """Names of an option in bold, what it takes in italics."""
    bold = re.sub(r"(?<!\S)(-[^\s,]+)", r"<b>\1<r>", record)
    slanted = re.sub(r" (?![<-])(\S.*)$", r" <i>\1<r>", bold)
    return _roff(slanted).replace("<b>", "\\fB").replace("<i>", "\\fI").replace("<r>", "\\fR")


def _paragraph(text: str) -> str:
    """A paragraph as lines of roff."""
    return _roff(textwrap.fill(" ".join(text.split()), LINE, break_long_words=False, break_on_hyphens=False))


def _roff(text: str) -> str:
    """Text as roff: no character of it is a command."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = "".join(letter if letter.isascii() else f"\\[u{ord(letter):04X}]" for letter in escaped)
    return re.sub(r"^(?=[.'])", r"\\&", escaped, flags=re.MULTILINE)


def _dashed(context: click.Context) -> str:
    """The name of the command's man page."""
    return context.command_path.replace(" ", "-")


if __name__ == "__main__":
    for path, text in files().items():
        file = ROOT / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    print(f"wrote {len(files())} files")
