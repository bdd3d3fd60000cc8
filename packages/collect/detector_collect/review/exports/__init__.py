"""How raw evidence leaves the review room: requested by one person, approved by two others, used once. No other way.

Room: detector_collect.review.exports. `rules`, `archive`, `dossier_lines` and `pdf` are pure; `requests` reads and
writes approvals; `routes` answers.
"""
