"""Five hundred clients at once, each asking on a connection of its own, while hostile ones hold theirs.

Room: tests of witness. Runs the server as a process of its own; opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from support.witnesses import EXAM

from detector.model import Endpoint
from detector.pins.encoding import parse_witness_key
from detector.probe import DirectDialer, Timeouts, open_tls
from detector.probe.client import close
from detector.probe.http.witness import with_witness
from detector.trust import witness_statement
from detector.trust.envelope import public_key_of
from detector.trust.key_files import create_signing_key

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing import PrivatePKI

CLIENTS = 500
HOSTILE = 100
UNHURRIED = Timeouts(connect=100, handshake=100, witness=100)
"""Nobody is to be lost because the machine is busy with something else."""


async def test_five_hundred_at_once(pki: PrivatePKI, tmp_path: Path) -> None:
    """All are connected at once, all ask at once, and all get an answer about their own connection."""
    issued = pki.issue([EXAM])
    (tmp_path / "chain.pem").write_bytes(issued.chain_pem)
    (tmp_path / "key.pem").write_bytes(issued.key_pem)
    keys = [public_key_of(create_signing_key(tmp_path / "signing.pem"))]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "detector", "witness", "serve", "--port", "0"),
        *("--certificate", str(tmp_path / "chain.pem"), "--key", str(tmp_path / "key.pem")),
        *("--signing-key", str(tmp_path / "signing.pem")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(100):
            assert process.stdout is not None
            place = (await process.stdout.readline()).decode()
            pinned = (await process.stdout.readline()).decode().split('"')[1]
            port = int(place.removeprefix("https://127.0.0.1:").partition("/")[0])
            endpoint = Endpoint(host=EXAM, address=("127.0.0.1", port), witness=(parse_witness_key(pinned),))
            dialer = DirectDialer()
            holders = [await asyncio.open_connection("127.0.0.1", port) for _ in range(HOSTILE)]
            opened = await asyncio.gather(
                *(open_tls(endpoint, dialer=dialer, timeouts=UNHURRIED) for _ in range(CLIENTS))
            )
            assert [one.observation.outcome for one in opened if one.connection is None] == []
            answered = await asyncio.gather(*(with_witness(one, endpoint, timeouts=UNHURRIED) for one in opened))
            await asyncio.gather(*(close(one.connection) for one in opened if one.connection is not None))
            for _, writer in holders:
                writer.transport.abort()
            process.terminate()
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert (process.returncode, out, err) == (0, b"", b"")
    exporters = set()
    for one in answered:
        observed = one.observation.witness
        assert observed is not None
        statement = witness_statement.read(observed.body, keys=keys).statement
        assert statement is not None
        assert statement.exporter == observed.exporter
        assert statement.nonce == witness_statement.encode_nonce(observed.nonce)
        exporters.add(statement.exporter)
    assert len(exporters) == CLIENTS
