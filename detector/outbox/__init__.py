"""Reports evidence to a collector: signed, kept on disk until it is received, never in the way of a decision.

Room: outbox, above the guard, through which it sends. `submission` and `receipt` are the forms of what goes and comes,
which a collector uses too.
"""
