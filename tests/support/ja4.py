"""JA4 of a ClientHello, which reports of other tools name: the client's part alone, which is under the BSD-3 licence.

Room: tests. Pure (https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from detector.probe.tls.codepoints import ExtensionType
from detector.probe.tls.hello import GREASE, ClientHello
from detector.probe.tls.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSIONS: Final = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10"}


def ja4(hello: ClientHello) -> str:
    """Return the fingerprint; reserved values do not count."""
    bodies = dict(hello.extensions)
    kinds = [kind for kind in bodies if kind not in GREASE]
    suites = [suite for suite in hello.cipher_suites if suite not in GREASE]
    version = max({*hello.versions, *([] if hello.versions else [hello.legacy_version])} - GREASE)
    protocol = hello.alpn[0] if hello.alpn else "00"
    target = "d" if ExtensionType.SERVER_NAME in kinds else "i"
    start = f"t{VERSIONS[version]}{target}{len(suites):02}{len(kinds):02}{protocol[0]}{protocol[-1]}"
    others = sorted(f"{kind:04x}" for kind in kinds if kind not in {ExtensionType.SERVER_NAME, ExtensionType.ALPN})
    return "_".join((start, _hash(sorted(f"{suite:04x}" for suite in suites)), _hash(others, _schemes(bodies))))


def _schemes(bodies: dict[int, bytes]) -> list[str]:
    """The signature schemes in the order in which they are sent."""
    content = Reader(bodies.get(ExtensionType.SIGNATURE_ALGORITHMS, b"\0\0"), "signature_algorithms").vector(2)
    schemes = (int.from_bytes(content[at : at + 2], "big") for at in range(0, len(content), 2))
    return [f"{scheme:04x}" for scheme in schemes if scheme not in GREASE]


def _hash(*lists: Iterable[str]) -> str:
    text = "_".join(filter(None, (",".join(numbers) for numbers in lists)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
