"""What tests of facts share. No tests."""

from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.facts import Facts, read_facts

BASE = "CREATE SCHEMA s; CREATE TABLE s.t (id int CONSTRAINT pk PRIMARY KEY, a text, b int);"


def facts_of(server: ShadowServer, *scripts: str) -> list[Facts]:
    """Build `BASE` and each script, one at a time, in a transaction that is rolled back; return the facts of each."""
    found = []
    with server.clone(None) as url, connect(url) as connection:
        for script in scripts:
            run_script(connection, BASE + script)
            found.append(read_facts(connection, ["s", "other"]))
            connection.rollback()
    return found
