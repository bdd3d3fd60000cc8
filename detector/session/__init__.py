"""`Detector`, `check` and `examine`: settings, plan, probes, follow-up and assessment of a run.

Room: session. It joins the probe to the judging rooms; the command line, gate, scan and watch stand on it.
"""
