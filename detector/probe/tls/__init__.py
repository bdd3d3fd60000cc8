"""TLS handshakes: engines, hellos, the parser of what the peer sent, and the transport after it.

Room: probe.
"""
