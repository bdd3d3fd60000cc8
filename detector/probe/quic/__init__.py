"""Handshakes over QUIC: the parser of its packets and the client.

Room: probe.
"""
