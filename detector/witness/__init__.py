"""A witness: an endpoint that signs what it sees of the TLS connection, so that both ends can compare.

Room: witness. `server` answers; what travels is `detector.trust.witness_statement`. `detector.probe.http.witness` is
the client's side, `detector.judge.checks.witness` assesses the response.
"""
