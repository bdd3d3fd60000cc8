"""The collector's database: PostgreSQL, or SQLite for one process.

Room: detector_collect.store. The only room with SQL; it assesses nothing.
"""
