"""One contender in a process of its own: `python -m benchmark.ours MODE FOLDER COUNT CONCURRENCY [PROCESSES]`.

MODE is `openssl` or `native` (looks with one engine), `scan` (`Detector.scan`: public path, timestamps and verdict),
`streams` or `memory-bio` (what the standard library offers, for comparison; neither gives a chain before Python 3.13),
or `hold-openssl` and `hold-native` (COUNT handshakes begun and left in flight; tells the memory they take).

Prints one line of JSON: `p50` and `p99` in milliseconds, or `kib` for each handshake in flight.
"""

from __future__ import annotations

import asyncio
import json
import resource
import ssl
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detector import Detector, Endpoint
from detector.model import Engine
from detector.probe import DirectDialer, Timeouts, probe

HOST: Final = "exam.example.edu"

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def spread(count: int, concurrency: int, one: Callable[[int], Awaitable[None]]) -> list[float]:
    """Do `one` for every number below `count`, some at once; how many milliseconds each took."""
    numbers = iter(range(count))
    took: list[float] = []

    async def work() -> None:
        for number in numbers:
            begun = time.perf_counter()
            await one(number)
            took.append((time.perf_counter() - begun) * 1000)

    await asyncio.gather(*(work() for _ in range(min(concurrency, count))))
    return took


async def looks(mode: str, ports: list[int], count: int, concurrency: int) -> list[float]:
    """Look with one engine of ours."""
    dialer, engine = DirectDialer(), Engine(mode)

    async def one(number: int) -> None:
        there = ("127.0.0.1", ports[number % len(ports)])
        seen = await probe(Endpoint(host=HOST, address=there), dialer=dialer, engine=engine)
        if not seen.key_proved or len(seen.chain) < 2:  # noqa: PLR2004 - leaf and intermediate
            raise RuntimeError(f"{mode}: a look ended as {seen.outcome}")

    return await spread(count, concurrency, one)


async def scan(folder: Path, ports: list[int], count: int, concurrency: int) -> list[float]:
    """Look and judge, as `Detector.scan` does."""
    roots, logs = folder / "roots.pem", folder / "ct_logs.json"
    targets = (Endpoint(host=HOST, address=("127.0.0.1", ports[n % len(ports)])) for n in range(count))
    async with Detector(pins=[], roots=roots, logs=logs, route="none", concurrency=concurrency) as detector:
        async for result in detector.scan(targets):
            if result.assurance != "logged":
                raise RuntimeError(f"scan: {result.verdict}, {result.reason}")
    return []


async def streams(ports: list[int], count: int, concurrency: int) -> list[float]:
    """What asyncio gives: a stream over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def one(number: int) -> None:
        port = ports[number % len(ports)]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=HOST)
        writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()

    return await spread(count, concurrency, one)


async def memory_bio(ports: list[int], count: int, concurrency: int) -> list[float]:
    """The standard library's TLS on memory buffers, fed by hand."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[number % len(ports)])
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        connection = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
        while True:
            try:
                connection.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(1 << 16))
            else:
                break
        writer.write(outgoing.read())
        connection.getpeercert(binary_form=True)
        writer.close()

    return await spread(count, concurrency, one)


def resident_kib() -> int:
    """Memory of this process in RAM."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


async def hold(mode: str, ports: list[int], count: int) -> dict[str, float]:
    """Begin handshakes with servers that say nothing until all have begun, then let all complete."""
    engine = Engine(mode.removeprefix("hold-"))
    dialer, patient = DirectDialer(), Timeouts(connect=120.0, handshake=600.0)
    await looks(engine.value, ports[1:], 8, 8)  # what only a first look takes is not counted
    before = resident_kib()
    endpoint = Endpoint(host=HOST, address=("127.0.0.1", ports[0]))
    tasks = [asyncio.create_task(probe(endpoint, dialer=dialer, engine=engine, timeouts=patient)) for _ in range(count)]
    reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
    writer.write(b"?")
    await reader.readexactly(1)  # the server has all hellos
    held = resident_kib()
    writer.write(b"!")
    complete = sum([(await task).key_proved for task in tasks])
    writer.close()
    return {"mib": (held - before) / 1024, "complete": complete}


async def main() -> None:
    """Run as the module says."""
    mode, folder, count, concurrency = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    ports = [int(line.rpartition(":")[2]) for line in (folder / "addresses").read_text("ascii").split()]
    if mode.startswith("hold-"):
        print(json.dumps(await hold(mode, [int(sys.argv[5]), *ports], count)))
        return
    if mode == "scan":
        took = await scan(folder, ports, count, concurrency)
    elif mode == "streams":
        took = await streams(ports, count, concurrency)
    elif mode == "memory-bio":
        took = await memory_bio(ports, count, concurrency)
    else:
        took = await looks(mode, ports, count, concurrency)
    took.sort()
    if took:
        print(json.dumps({"p50": round(took[len(took) // 2], 3), "p99": round(took[len(took) * 99 // 100], 3)}))


if __name__ == "__main__":
    asyncio.run(main())
