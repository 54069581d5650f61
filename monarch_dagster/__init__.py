"""Monarch on Dagster: a client's PostgreSQL warehouse kept in step with its schema sources."""
