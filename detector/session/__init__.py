"""`Detector`, `check` and `examine`: settings, plan, probes, follow-up and assessment of a run.

Room: session. It joins the probe to the rooms that assess; everything above uses it.
"""
