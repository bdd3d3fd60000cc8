"""Clients of a server that assesses its requests: TLS stacks that send what they send, under any User-Agent.

Room: tests of origin. Opens connections on loopback.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
from typing import Any, Final

import utls

HOST: Final = "exam.example.edu"
CHROME: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
)
FIREFOX: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI: Final = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 "
    "Safari/605.1.15"
)
CURL: Final = "curl/8.5.0"
PATIENCE: Final = 60.0
"""Seconds for one answer of a busy machine; only a broken test waits that long."""


def openssl() -> ssl.SSLContext:
    """The TLS of Python and curl, which many interceptors have."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def chrome(version: str = "150") -> ssl.SSLContext:
    """BoringSSL with the ClientHello of a Chrome."""
    context: Any = utls.SSLContext(utls.PROTOCOL_TLS_CLIENT)
    context.set_fingerprint(f"chrome:{version}")
    context.check_hostname = False
    context.verify_mode = utls.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    found: ssl.SSLContext = context
    return found


Headers = dict[str, str]


def ask(port: int, tls: ssl.SSLContext | None, *requests: Headers, path: str = "/") -> list[str]:
    """Make these requests on one connection that stays open, without TLS where `tls` is None; return the answers."""
    answers = []
    with contextlib.ExitStack() as stack:
        opened: http.client.HTTPConnection
        if tls is None:
            opened = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        else:
            opened = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=tls)
        stack.callback(opened.close)
        for headers in requests:
            opened.request("GET", path, headers=headers)
            with opened.getresponse() as answer:
                answers.append(f"{answer.read().decode()}")
                assert answer.status == 200, answers
    return answers


def agent(name: str) -> Headers:
    """The headers of a request of this User-Agent."""
    return {"User-Agent": name}
