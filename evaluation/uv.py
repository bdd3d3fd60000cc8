"""Runs uv, which installs what the evaluation compares with into environments of their own.

Starts processes; uv may fetch packages from the index that it is configured for.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sys
from typing import Final

_SHOWN: Final = 300
"""Characters at the end of uv's output that an error repeats."""


class UvError(RuntimeError):
    """There is no uv, or it failed; the message says why."""


async def run_uv(*arguments: str) -> None:
    """Run uv with these arguments. Raises UvError."""
    if uv := shutil.which("uv"):
        command: tuple[str, ...] = (uv,)
    elif importlib.util.find_spec("uv") is not None:
        command = (sys.executable, "-m", "uv")
    else:
        raise UvError("there is no uv")
    process = await asyncio.create_subprocess_exec(
        *command, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode:
        shown = output.decode(errors="replace")[-_SHOWN:]
        raise UvError(f"uv {arguments[0]} ended with {process.returncode}: {shown.strip()}")
