"""`Detector`, `check` and `examine`: settings, plan, probes, follow-up and assessment of a run.

Room: session. `plan` builds probes, `run` runs them, `follow_up` adds what is missing, `stream` assesses results as
they come; `session` has the public classes. The command line, gate, scan and watch are built on it.
"""
