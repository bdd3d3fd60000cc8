"""Many machines, many vantages: probes run on workers of a Dask cluster, judging happens where the scan was asked for.

Room: fleet, above scan. `certificates` makes what mutual TLS needs, `engine` sets the engine up, `work` is what runs on
a worker, `conduct` spreads the targets and gathers what was seen. The extra `fleet` installs the engine.

Workers observe; they do not judge. What comes back from them are observations with their raw certificates and
signatures, which are judged here, with the pins, roots and logs that are here: a worker with an old list has no say in
a verdict.
"""
