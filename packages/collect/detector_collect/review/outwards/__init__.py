"""What leaves the review room by itself: signed webhooks and mail digests that say where to read, and nothing more.

Room: detector_collect.review.outwards. `webhooks` and `digests` are pure; `sender` sends what
`detector_collect.store.deliveries` holds.
"""
