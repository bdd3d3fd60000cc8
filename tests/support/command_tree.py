"""Every command of the program, by its path, and the examples in their help.

Room: tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from detector import cli

if TYPE_CHECKING:
    from collections.abc import Iterator


def tree(command: click.Command = cli.detector, path: str = "detector") -> Iterator[tuple[str, click.Command]]:
    """Every command with its path, such as `detector pins learn`."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.commands:
            yield from tree(command.commands[name], f"{path} {name}")


COMMANDS = dict(tree())
EXAMPLES = [(path, text) for path, command in COMMANDS.items() for text in getattr(command, "examples", ())]
