"""What the database should look like and what it looks like: desired schema, naming, facts."""
