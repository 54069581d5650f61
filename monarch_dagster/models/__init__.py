"""Monarch's core models: one file of SQLAlchemy models per schema, the same for every client."""
