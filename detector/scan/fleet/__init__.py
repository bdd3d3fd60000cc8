"""Many machines, many vantages: probes run on workers, assessment where the scan was started.

Room: fleet, above scan. `certificates` makes what mutual TLS needs and reads it, `messages` defines what is sent,
`scheduler` relays between clients and workers, `worker` probes, `coordinator` distributes the targets of one scan.

Everything that is sent is data of the types in `messages` and `detector.scan.work`, validated where it is received: no
part runs code of another. Workers observe and do not assess. What they return is assessed here, with the pins, roots
and logs that are here: a worker with an old list has no influence on a verdict.
"""
