"""How often the assessment and other methods are wrong: material with known truth, methods, counts, a page.

Drives the package from outside; nothing in the package imports it. `material` holds the records. Scenes
come from `corpora` (chains in a folder, with the roots and logs that `past` has of the time), from what is made in a
`lab` (`engines`, `misissuing`, `honest`, `innocent`, `ages`, `forms`; the residuals are in `limits`), and from
`scenarios` (sockets on loopback). `ours` and `baselines` answer, `portal_detector` drives a package from PyPI in an
environment of its own, which `uv` installs; `page` writes.
"""
