"""What a probe costs: CPU, latency and memory of the detector and of other programs, in alternation.

`python -m benchmark` runs `command`: it starts an `origin`, measures the `contenders` in `rounds`, their `memory`, the
`start` of an exam and more `processes`, and writes the `page`. `clients`, `exam` and `relays` are processes of their
own. `python -m benchmark.fleet_throughput` measures fleets, `python -m benchmark.scan_memory` the memory of scans, and
`python -m benchmark.parsers` what each parser takes for its worst input.
"""
