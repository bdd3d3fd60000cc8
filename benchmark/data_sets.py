"""An updated data set, and how long it takes to load: `python -m benchmark.data_sets FOLDER`, in a fresh process.

Prints one line of JSON: milliseconds until the set is open (every file read and hashed), and until every part of it has
been read.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import sys
import time
from typing import TYPE_CHECKING

from detector.knowledge.data_set import DATA, PARTS, ROOT_CERTIFICATES, installed, shipped
from detector.knowledge.store import CURRENT, MANIFEST, SETS, Current, Manifest, StoredFile
from detector.model import KnowledgeKind, encode

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path) -> Path:
    """Install, in a folder, what the package ships, released again on a later day; return the folder."""
    day = max(part.date for part in shipped().parts() if part.date) + dt.timedelta(days=1)
    names = [PARTS[kind].name for kind in PARTS if kind is not KnowledgeKind.CANARIES]
    files = {}
    for name in (*names, ROOT_CERTIFICATES):
        head = {"version": 2, "date": str(day), "horizon": str(day + dt.timedelta(days=900))}
        files[name] = json.dumps({**json.loads((DATA / name).read_bytes()), **head}).encode()
    published = dt.datetime.combine(day, dt.time(), dt.UTC)
    described = {
        name: StoredFile(sha256=hashlib.sha256(data).hexdigest(), length=len(data)) for name, data in files.items()
    }
    manifest = encode(Manifest(repository="benchmark", version=2, published=published, files=described))
    name = f"2-{hashlib.sha256(manifest).hexdigest()[:8]}"
    place = folder / SETS / name
    place.mkdir(parents=True)
    for file, data in {**files, MANIFEST: manifest}.items():
        (place / file).write_bytes(data)
    (folder / CURRENT).write_bytes(encode(Current(set=name)))
    return folder


def main() -> None:
    """Load the set in the folder that is named."""
    begun = time.perf_counter()
    data = installed(sys.argv[1])
    opened = time.perf_counter()
    data.public_roots()
    used = (data.logs, data.intermediates, data.revocations, data.catalogue, data.client_hellos, data.browser_offers)
    read = time.perf_counter()
    if data.warnings or len(data.parts()) < len(used):
        raise SystemExit(f"the set was left aside: {data.warnings}")
    print(json.dumps({"open_ms": (opened - begun) * 1000, "read_ms": (read - begun) * 1000}))


if __name__ == "__main__":
    main()
