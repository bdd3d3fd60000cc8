"""The review room: approved staff decide about an institution, and nobody sees more than they may.

Room: detector_collect.review, above the store. `access` decides who sees what and records it.
"""
