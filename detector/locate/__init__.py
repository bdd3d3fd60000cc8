"""Hop tracing: how far from this machine TLS is answered.

Room: locate. `tracing` sends the packets, `locate` runs the feature; `detector.judge.hops` says what the answers mean.
"""
