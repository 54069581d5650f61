"""The revision chain: generate, order, prove, apply; and the Alembic environment that all of it runs through."""
