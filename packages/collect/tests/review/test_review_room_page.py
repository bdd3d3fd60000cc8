"""A newcomer's run: the second command of docs/review-room.md leads to a room with the simulated term in it.

Room: tests. Starts the command as a process; talks to loopback only.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from detector_collect.review.access import sessions
from httpx import AsyncClient
from support.collect_review import Visitor

PAGE = (Path(__file__).parents[4] / "docs" / "review-room.md").read_text("utf-8")


async def test_two_commands_to_the_room() -> None:
    """The page has two commands; the second prints the room's address, and a reviewer signs in and sees the term.

    On any free port: the address that it prints is the one that the room answers to.
    """
    (block,) = re.findall(r"^```shell\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    install, serve = block.splitlines()
    assert install == "uv sync"
    assert serve.startswith("uv run detector-collect ")
    command = [sys.executable, "-m", "detector_collect", *serve.split()[3:], "--listen", "127.0.0.1:0"]
    quiet, piped = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=piped, stderr=quiet)
    try:
        assert process.stdout is not None
        first, second, address = [(await process.stdout.readline()).decode().strip() for _ in range(3)]
        assert first.startswith("Simulating ")  # at once: what follows takes half a minute
        assert second.startswith("Simulated: ")
        async with AsyncClient(base_url=address) as client:
            page = (await client.get("/sign-in")).text
            (reviewer,) = re.findall(r'value="(\d+)">[^<]*reviewer', page)
            entered = await client.post("/sign-in/demo", data={"person": reviewer}, headers={"Origin": address})
            assert entered.headers["location"] == "/"
            visitor = Visitor(client, sessions.csrf_of(client.cookies["session"]))
            overview = (await visitor.get("/")).text
            assert "20 institutions" in overview
            assert overview.count("✗</span> very probably the institution") == 3
            named = re.findall(r'href="(/institutions/[\w-]+)"', overview)[0]
            assert "very probably decrypts" in (await visitor.get(named)).text
    finally:
        process.terminate()
        await process.wait()
