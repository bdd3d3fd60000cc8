"""Trust: certificates, names, verified paths, strict acceptance, Certificate Transparency, signatures, envelopes.

Room: trust. Pure: no sockets, no asyncio, no clock; roots, logs and moments are arguments. Files: `key_files` only.
"""
