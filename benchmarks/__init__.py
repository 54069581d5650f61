"""Measurements of Monarch beside plain Alembic; run by `make bench`. Not part of the package."""
