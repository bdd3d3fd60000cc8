"""Many machines, many vantages: probes run on workers of a Dask cluster, assessment where the scan was started.

Room: fleet, above scan. `certificates` makes what mutual TLS needs, `engine` sets Dask up, `worker` is what runs on a
worker, `coordinator` distributes the targets. The extra `fleet` installs Dask.

Workers observe and do not assess. They return observations with raw certificates and signatures, which are assessed
here, with the pins, roots and logs that are here: a worker with an old list has no influence on a verdict.
"""
