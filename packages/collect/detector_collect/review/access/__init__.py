"""Who may see what: people, grants, sessions, the one guard of the application, and the chain of access records.

Room: detector_collect.review.access. `permissions` and `chain` are pure; `authorize` is the guard that every route goes
through; `records` writes and verifies the access records; `oidc` and `lti` sign people in.
"""
