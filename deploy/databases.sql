-- Runs once, when the server is set up; Dagster's own database is there by then.
CREATE DATABASE warehouse;
