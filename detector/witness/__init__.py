"""A witness: an endpoint that signs what it sees of the TLS connection, so that both ends can compare.

Room: witness. `protocol` is pure and says what travels; `server` answers. The client's side is `detector.probe.witness`
(it asks) and `detector.judge.checks.witness` (it judges).
"""
