"""Durable memory of a project: the journal, the DuckDB file behind it, values as files, and the folder they live in.

Only ``duckdb*.py`` imports duckdb. Nothing here knows runs beyond their events.
"""
