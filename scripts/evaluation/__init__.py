"""How often the judgement and other methods are wrong: material with known truth, methods, counts, a page.

Room: scripts. Drives the package from outside; nothing in the package imports it. `material` holds the records,
`corpora` reads chains from a folder, `families` and `limits` make certificates, `scenarios` opens sockets on loopback,
`ours` and `baselines` answer, `portal_detector` drives a package from PyPI in an environment of its own, `page` writes.
"""
