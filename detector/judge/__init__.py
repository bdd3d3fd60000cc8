"""Where verdicts are made: evidence -> checks -> findings -> rules of the decision table -> verdict.

Room: judge. Pure: no sockets, no clock, no files.
"""
