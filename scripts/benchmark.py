"""Measure what a look costs: CPU, latency and memory, beside other programs. See `benchmark/command.py`.

python scripts/benchmark.py --quick
python scripts/benchmark.py --write docs/performance.md
"""

from __future__ import annotations

from benchmark.command import main

if __name__ == "__main__":
    raise SystemExit(main())
