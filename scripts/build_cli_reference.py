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

Generated from the commands by `scripts/build_cli_reference.py`; the same texts as `--help`.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_sections(detector, None, "detector"))


def _sections(command: click.Command, parent: click.Context | None, name: str) -> Iterator[str]:
    """One section for the command and each of its subcommands."""
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, parent, info_name=name, **settings)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"\n## {context.command_path}\n\n```text\n{text}\n```\n"
    if isinstance(command, click.Group):
        for subcommand in command.commands:
            yield from _sections(command.commands[subcommand], context, subcommand)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
