"""The bounded HTTP client, and what is asked with it: issuers, portals, dates, DNS, the witness.

Room: probe.
"""
