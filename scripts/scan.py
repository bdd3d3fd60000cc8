"""Scan endpoints for TLS interception: for network admins, the command `detector check` under its old-fashioned name.

    python scripts/scan.py exam.example.edu lms.example.org:8443 --format json --output report.json

Without hosts every endpoint of the pin files is scanned, the shipped ones unless --pins names others. Options and
exit codes are those of `detector check`.
"""

import sys

from detector.cli import run

if __name__ == "__main__":
    sys.exit(run(["check", *sys.argv[1:]]))
