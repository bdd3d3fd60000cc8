"""Runs uv, which installs packages from its configured index into environments of their own."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sys
from typing import Final

_SHOWN: Final = 300
"""Characters of the end of uv's output in an error."""


class UvError(RuntimeError):
    """uv is not available, or failed; the message says why."""


def uv_command() -> tuple[str, ...]:
    """Return the command that runs uv. Raises UvError."""
    if uv := shutil.which("uv"):
        return (uv,)
    if importlib.util.find_spec("uv") is not None:
        return sys.executable, "-m", "uv"
    raise UvError("there is no uv")


async def run_uv(*arguments: str) -> None:
    """Run uv with these arguments. Raises UvError."""
    process = await asyncio.create_subprocess_exec(
        *uv_command(), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode:
        shown = output.decode(errors="replace")[-_SHOWN:]
        raise UvError(f"uv {arguments[0]} ended with {process.returncode}: {shown.strip()}")
