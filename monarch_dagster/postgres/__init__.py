"""PostgreSQL at the bottom: engines, the embedded server, shadow databases, the advisory lock."""
