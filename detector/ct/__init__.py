"""Follows static Certificate Transparency logs for certificates of our own hosts whose keys nobody here knows.

Room: ct. `notes`, `tiles`, `entries`, `matching` and `findings` are pure; `source` opens connections through a dialer
or reads a mirror, `state` keeps one file, and `monitor` puts them together.

The formats are those of https://c2sp.org/static-ct-api and RFC 6962. Nothing that a log, or somebody between it and
this program, sends is used before it is verified: a checkpoint by the log's key, a tile by the checkpoint's root, an
entry by its tile. What does not verify is reported and never advances the state.
"""
