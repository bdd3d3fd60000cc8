"""Continuous watching: when to probe, which changes are events, and what is exported.

Room: watch. `state`, `events` and `schedule` are pure; `runner` drives them; `metrics` serves numbers.
"""
