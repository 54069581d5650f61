"""`python -m monarch_dagster` is `monarch`."""

from monarch_dagster.cli import main

main(prog_name="monarch")
