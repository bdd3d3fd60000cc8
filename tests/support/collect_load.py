"""Sends submissions to a collector from many clients at once, and keeps what was answered.

Room: tests. Sockets on loopback. Also a program, so that its processor time is not the service's:

    python -m support.collect_load --clients 64 http://127.0.0.1:8000 envelopes.jsonl answers.jsonl

reads an envelope a line, and writes an `Answer` a line, as soon as it comes. Killed and started again, it sends what
has no answer yet.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from detector.outbox.receipt import PAYLOAD_TYPE, Receipt
from detector.trust.envelope import open_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

PATH: Final = "/v1/evidence"
TYPE: Final = "application/vnd.dsse.envelope.v1+json"
BUSY: Final = frozenset({429, 502, 503, 504})
"""Answers after which a client sends the same again."""
PAUSE: Final = 0.05
"""Seconds until then. A service that starts again takes a second."""


class Answer(NamedTuple):
    """What was answered to submission number `place` in the end, in how many seconds, and after how many requests.

    `at` is when, in seconds of the clients' clock.
    """

    place: int
    status: int
    seconds: float
    body: bytes
    requests: int
    at: float


def request(url: str, body: bytes, *, headers: Iterable[tuple[str, str]] = (), kind: str = TYPE) -> bytes:
    """The bytes of a request that submits `body`."""
    lines = [f"POST {PATH} HTTP/1.1", f"Host: {urlsplit(url).netloc}", f"Content-Type: {kind}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


class Client:
    """One connection, opened again when it is lost."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, asked: bytes) -> tuple[int, bytes]:
        """Send a request: status and body of its answer. Raises `OSError` or `EOFError` when the connection is lost."""
        if self._streams is None:
            where = urlsplit(self._url)
            self._streams = await asyncio.open_connection(where.hostname, where.port)
        reader, writer = self._streams
        try:
            writer.write(asked)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(fields.get("content-length", "0")))
        except BaseException:
            self.close()
            raise
        if fields.get("connection") == "close":
            self.close()
        return int(head[0].split()[1]), body

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def submit(client: Client, place: int, asked: bytes) -> Answer:
    """Send one submission until it is received or refused."""
    requests = 0
    while True:
        began = time.perf_counter()
        requests += 1
        with contextlib.suppress(OSError, EOFError):
            status, body = await client.send(asked)
            if status not in BUSY:
                return Answer(place, status, (now := time.perf_counter()) - began, body, requests, now)
        await asyncio.sleep(PAUSE)


async def submit_all(
    urls: Sequence[str], envelopes: Iterable[tuple[int, bytes]], take: Callable[[Answer], object], *, clients: int = 64
) -> None:
    """Send all of them by so many clients, spread over `urls`, and give each answer to `take`."""
    waiting = iter(envelopes)

    async def work(url: str) -> None:
        with contextlib.closing(Client(url)) as client:
            for place, envelope in waiting:
                take(await submit(client, place, request(url, envelope)))

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(work(urls[number % len(urls)]))


def read_receipt(answer: Answer, key: bytes) -> Receipt:
    """The receipt that was answered. Fails where the service's key did not sign it."""
    assert answer.status in {200, 201}, (answer.status, answer.body[:500])
    opened = open_envelope(answer.body, payload_type=PAYLOAD_TYPE, keys=[key])
    assert opened.problem is None, (opened.problem, answer.body[:500])
    return msgspec.json.decode(opened.payload, type=Receipt)


def read_answers(path: Path) -> dict[int, Answer]:
    """What the program wrote, by place, without lines that it did not finish."""
    answers = {}
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        with contextlib.suppress(msgspec.DecodeError):
            answer = msgspec.json.decode(line, type=Answer)
            answers[answer.place] = answer
    return answers


def main() -> None:
    """Read envelopes, send them, write the answers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("envelopes", type=Path)
    parser.add_argument("answers", type=Path)
    given = parser.parse_args()
    known = read_answers(given.answers)
    lines = enumerate(given.envelopes.read_bytes().splitlines())
    waiting = ((place, line) for place, line in lines if place not in known)
    with given.answers.open("ab", buffering=0) as file:
        file.write(b"\n")  # ends what was being written when it was killed
        submitting = submit_all(
            given.urls, waiting, lambda answer: file.write(msgspec.json.encode(answer) + b"\n"), clients=given.clients
        )
        asyncio.run(submitting)


if __name__ == "__main__":
    main()
