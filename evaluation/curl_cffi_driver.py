"""Requests pages as each browser that curl_cffi imitates. Runs in an environment where curl_cffi is installed.

    python curl_cffi_driver.py HTTP_PORT TLS_PORT

For each target: one request over HTTP, which shows its User-Agent, and two over TLS, which fail after the ClientHello.
"""

from __future__ import annotations

import contextlib
import sys

from curl_cffi import requests
from curl_cffi.requests.impersonate import BrowserType

SECONDS = 10
"""For one request on loopback."""


def main() -> None:
    """Make the requests; prints nothing."""
    plain, encrypted = sys.argv[1:]
    for target in sorted(kind.value for kind in BrowserType):
        requests.get(f"http://127.0.0.1:{plain}/{target}", impersonate=target, timeout=SECONDS)
        for _ in range(2):
            with contextlib.suppress(requests.exceptions.RequestException):
                requests.get(f"https://localhost:{encrypted}/", impersonate=target, timeout=SECONDS, verify=False)


if __name__ == "__main__":
    main()
