"""Judges what was observed: evidence, checks, the decision table and the verdict on a network.

Room: judge. Pure: no sockets, no clock, no files.
"""
