"""Scan any number of targets for TLS interception: for network admins, the command `detector scan` as a script.

    python scripts/scan.py exam.example.edu lms.example.org:8443 --format jsonl
    python scripts/scan.py --targets campus.csv --rate 50 --format jsonl --output campus.jsonl --resume campus.state

Without targets every endpoint of the pin files is scanned, the shipped ones unless --pins names others. Options and
exit codes are those of `detector scan`.
"""

import sys

from detector.cli import run

if __name__ == "__main__":
    sys.exit(run(["scan", *sys.argv[1:]]))
