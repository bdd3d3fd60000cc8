"""TLS handshakes.

Room: probe. From the bytes up: `codepoints` (tables), `reader` (cursor), `keys` and `key_exchange` (of TLS 1.3; both
versions), `tls12` (keys and records of TLS 1.2), `hello` (both hellos, JA4), `client_hello` (writer of browsers'
hellos), `compression` and `delegated_credential` (of certificates), `framing` (records and messages), `conformance`
(what browsers take), `wire` (parser of a handshake), `engine` (base of the engines), `native` (browsers' hellos,
without a TLS library), `openssl` (OpenSSL's hellos), `fallback` (which engine probes), `protocol` (carries a handshake
over a transport), `transport` (the established connection).
"""
