"""Write docs/cli.md: the help of every command. For maintainers; a test compares the whole page.

Room: scripts. Reads the command tree, writes docs/cli.md.

    python scripts/build_cli_reference.py
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from detector.cli import detector

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
WIDTH: Final = 100
"""Columns of the help texts."""
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


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_sections(detector, None, "detector"))


def _sections(command: click.Command, parent: click.Context | None, name: str) -> Iterator[str]:
    """One section for the command and each of its subcommands."""
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, parent, info_name=name, **settings)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"\n### {context.command_path}\n\n```text\n{text}\n```\n"
    if isinstance(command, click.Group):
        for subcommand in command.commands:
            yield from _sections(command.commands[subcommand], context, subcommand)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
