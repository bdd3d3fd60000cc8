"""`detector completion`: the script with which a shell completes commands, options and values.

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

_AUTOLOADED: Final = ("$zsh_eval_context[-1] == loadautofunc", "$funcstack[1] == _detector")
"""How click's script for zsh recognizes that it runs as a function from a file, which holds in the first call only, and
what holds in every call."""


@options.command("detector completion bash", 'eval "$(detector completion bash)"')
def completion(*, shell: str = options.argument(type=options.Choice(["bash", "zsh", "fish"]))) -> int:
    """Print the completion script of a shell.

    Put `eval "$(detector completion bash)"` into ~/.bashrc.
    """
    sys.stdout.write(script(shell))
    return common.CLEAN


def script(shell: str) -> str:
    """The completion script of bash, zsh or fish. Raises `click.UsageError` for a shell that click does not know."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"{shell} has no completion in this version of click.")
    return found(click.Command("detector"), {}, "detector", VARIABLE).source().replace(*_AUTOLOADED) + "\n"
