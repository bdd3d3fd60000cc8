"""What earlier runs saw: kept in a database, compared, and told over time.

Room: history. `schema` and `difference` are pure; `store` talks to the database (SQLite, or PostgreSQL by URL) through
SQLAlchemy, `migrations` brings older schemas up to date. The extra `history` installs what it needs.

What is kept is what reports hold, and nothing else: verdicts, findings and certificates. Certificates are kept once
each, however often they were seen.
"""
