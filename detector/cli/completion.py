"""`detector completion`: what makes a shell complete commands and options.

Room: cli.
"""

from __future__ import annotations

import sys
from typing import Final

import click
from click.shell_completion import get_completion_class

from . import common

VARIABLE: Final = "_DETECTOR_COMPLETE"
"""Set by the shell's script when it asks what fits; see click's documentation of shell completion."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> int:
    """Print the completion script of a shell: `eval "$(detector completion bash)"` in ~/.bashrc does it."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"{shell} has no completion in this version of click.")
    sys.stdout.write(found(context.find_root().command, {}, "detector", VARIABLE).source() + "\n")
    return common.CLEAN
