"""How often the detector and other methods are wrong, on material of known truth.

Run from a clone: `python -m evaluation --help`. `command` drives it. `material` has the records. Scenes come from
`corpora` (captured chains, with the roots and logs of their time from `past`), from generated families in a `lab`
(`engines`, `misissuing`, `honest`, `innocent`, `ages`, `forms`; the residuals are in `limits`), and from `scenarios`
(sockets on loopback). `ours` and `baselines` answer; `portal_detector` drives a package from PyPI in an environment of
its own. `page` writes docs/accuracy.md, and `python -m evaluation.client_hellos` the part of it on the server's side.
`python -m evaluation.engine_differential` compares the two TLS engines.
"""
