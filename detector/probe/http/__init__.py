"""HTTP of this room: the bounded client, and everything requested with it.

Room: probe. `client` (one request, or requests over an open connection), `https` (TLS captured first), `issuers` (AIA),
`portal` (captive portals), `dates` (server clocks), `doh` (DNS over HTTPS), `witness` (the request to a witness).
"""
