"""`detector completion`: the script with which a shell completes commands and options.

Room: cli.
"""

from __future__ import annotations

import sys
from typing import Final

import click
from click.shell_completion import get_completion_class

from . import common, options

VARIABLE: Final = "_DETECTOR_COMPLETE"
"""Set by the shell's script when it asks for completions; see click's documentation of shell completion."""


@click.command(cls=options.Command, examples=("detector completion bash", 'eval "$(detector completion bash)"'))
@click.argument("shell", type=options.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> int:
    """Print the completion script of a shell.

    Put `eval "$(detector completion bash)"` into ~/.bashrc.
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"{shell} has no completion in this version of click.")
    sys.stdout.write(found(context.find_root().command, {}, "detector", VARIABLE).source() + "\n")
    return common.CLEAN
