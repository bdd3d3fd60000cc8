"""An exam platform on loopback, and the files with which a client in another process probes it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing import PrivatePKI

EXAM = "exam.example.edu"
HOST = (sys.executable, "-m", "detector", "exam")
ENVIRONMENT = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
"""This environment, without the proxies of the machine that runs the tests."""


class Files:
    """A folder with a policy, pins and the trust of the test PKI. `point_to` says where the exam platform is."""

    def __init__(self, folder: Path, pki: PrivatePKI) -> None:
        written = pki.write(folder)
        self.issued = pki.issue([EXAM])
        self.policy = folder / "policy.toml"
        self.policy.write_text('schema = 1\nname = "finals"\ndeadline = 20\npins = ["pins.toml"]\n', "utf-8")
        self._pins = folder / "pins.toml"
        self.options = (
            *("--policy", str(self.policy)),
            *("--roots", str(written.roots)),
            *("--ct-logs", str(written.ct_logs)),
            *("--proxy", "none"),
            "--offline",
        )

    def point_to(self, port: int, *hosts: str, identity: str = "unknown") -> None:
        """Have the exam platform, and more hosts, at this port of this machine; `identity` as the pin file has it."""
        endpoints = [
            f'[[endpoint]]\nhost = "{host}"\ncategory = "exam"\naddress = "127.0.0.1:{port}"\n' for host in hosts
        ]
        pinned = f'pins = ["sha256:{self.issued.spki_sha256.hex()}"]\n'
        pinned += f'identity = "{identity}"\n'
        exam = f'[[endpoint]]\nhost = "{EXAM}"\ncategory = "exam"\naddress = "127.0.0.1:{port}"\n{pinned}'
        self._pins.write_text("schema = 1\n" + exam + "".join(endpoints), "utf-8")
