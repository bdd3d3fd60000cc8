"""TLS handshakes.

Room: probe. From the bytes up: `codepoints` (tables), `reader` (cursor), `keys` (key schedule), `hello` (both hellos,
JA3), `wire` (parser of a handshake), `engine` (base of the engines), `openssl` (the reference), `native`
(the fast one, TLS 1.3 without a library), `browser` (a browser's hello), `fallback` (which engine probes), `protocol`
(carries a handshake over a transport), `transport` (the established connection).
"""
