"""Sends submissions to a collector from many clients at once, and keeps what was answered.

Room: tests. Sockets on loopback. Also a program, so that its processor time is not the service's:

    python -m support.collect_load --clients 64 http://127.0.0.1:8000 envelopes.jsonl answers.jsonl

reads an envelope a line, and writes an `Answer` a line.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from detector.outbox.receipt import PAYLOAD_TYPE, Receipt
from detector.trust.envelope import open_envelope

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PATH: Final = "/v1/evidence"
TYPE: Final = "application/vnd.dsse.envelope.v1+json"
BUSY: Final = frozenset({429, 502, 503, 504})
"""Answers after which a client sends the same again."""
PAUSE: Final = 0.05
"""Seconds until then. A service that starts again takes a second."""


class Answer(NamedTuple):
    """What was answered to one submission in the end, how long that request took, and the requests before it."""

    status: int
    seconds: float
    body: bytes
    repeated: int = 0


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


async def submit(client: Client, asked: bytes) -> Answer:
    """Send one submission until it is received or refused."""
    repeated = 0
    while True:
        began = time.perf_counter()
        with contextlib.suppress(OSError, EOFError):
            status, body = await client.send(asked)
            if status not in BUSY:
                return Answer(status, time.perf_counter() - began, body, repeated)
        repeated += 1
        await asyncio.sleep(PAUSE)


async def submit_all(urls: Sequence[str], envelopes: Iterable[bytes], *, clients: int = 64) -> list[Answer]:
    """Send all of them by so many clients, spread over `urls`: the answers in the order of the envelopes."""
    waiting = enumerate(envelopes)
    answers: dict[int, Answer] = {}

    async def work(number: int) -> None:
        url = urls[number % len(urls)]
        client = Client(url)
        try:
            for place, envelope in waiting:
                answers[place] = await submit(client, request(url, envelope))
        finally:
            client.close()

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(work(number))
    return [answers[place] for place in range(len(answers))]


def read_receipt(answer: Answer, key: bytes) -> Receipt:
    """The receipt that was answered. Fails where the service's key did not sign it."""
    assert answer.status in {200, 201}, (answer.status, answer.body[:500])
    opened = open_envelope(answer.body, payload_type=PAYLOAD_TYPE, keys=[key])
    assert opened.problem is None, (opened.problem, answer.body[:500])
    return msgspec.json.decode(opened.payload, type=Receipt)


def read_answers(path: Path) -> Iterator[Answer]:
    """What the program wrote."""
    for line in path.read_bytes().splitlines():
        status, seconds, body, repeated = msgspec.json.decode(line)
        yield Answer(status, seconds, base64.b64decode(body), repeated)


def main() -> None:
    """Read envelopes, send them, write the answers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("envelopes", type=Path)
    parser.add_argument("answers", type=Path)
    given = parser.parse_args()
    lines = given.envelopes.read_bytes().splitlines()
    answers = asyncio.run(submit_all(given.urls, lines, clients=given.clients))
    given.answers.write_bytes(b"\n".join(map(msgspec.json.encode, answers)))


if __name__ == "__main__":
    main()
