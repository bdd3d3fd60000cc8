"""Results of earlier runs: stored in a database, compared, and summarized over time.

Room: history. `schema`, `difference` and `dossier` are pure; `store` accesses the database (SQLite, or PostgreSQL by
URL) through SQLAlchemy, `migrations` upgrades older schemas. The extra `history` installs the dependencies.

Only the content of reports is stored: verdicts, findings and certificates, each certificate once.
"""
