"""Handshakes over QUIC: `wire` (parser of its packets) and `client` (one connection, with the extra `quic`).

Room: probe.
"""
