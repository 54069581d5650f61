"""What tests of the type-change matrix share: types, values, and a project with a column a cell. No tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection

from monarch_dagster.migrations.alter_type import Conversion, Conversions
from monarch_dagster.migrations.converting import count_conversions
from monarch_dagster.migrations.environment import SETTINGS
from monarch_dagster.migrations.planning.conversions import using
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster_tests.support import Project

# All that Salesforce fields are mapped to, and all that a person may choose; with values: some that fit elsewhere,
# extremes, and what only looks like something else.
VALUES: Final[Mapping[str, Sequence[str]]] = {
    "text": [
        "",
        "12.50",
        "7",
        "007",
        "true",
        "2024-02-29",
        "2024-02-29T23:30:00.000+0100",
        "10:15:00.000Z",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "\\x00ff",
        "Müller" * 50,
    ],
    "varchar": ["", "12.5", "no", "2024-02-29 10:00", "0f8fad5b-d9cb-469f-a165-70867728950e", '{"a": 1}', "x" * 300],
    "varchar(5)": ["", "1", "99999", "1e3", "abc  ", "10:15", "f"],
    "varchar(18)": ["", "001A0000000AbCdEAF", "123456789012345678", "-0.00000000000001"],
    "varchar(40)": [
        "",
        "7",
        "yes",
        "2024-02-29",
        "10:15",
        "NaN",
        "1,000.00",
        "[1]",
        "\\x00ff",
        "0x10",
        "30.02.2024",
        "0F8FAD5B-D9CB-469F-A165-70867728950E",
    ],
    "varchar(255)": ["", "x" * 255, "9" * 30, "infinity", "now", "null"],
    "boolean": ["true", "false"],
    "smallint": ["0", "1", "-32768", "32767"],
    "integer": ["0", "1", "20240229", "-2147483648", "2147483647"],
    "bigint": ["0", "1", "-9223372036854775808", "9007199254740993"],
    "numeric": ["0", "1.50", "9" * 40, "0.00000000000000000001", "NaN"],
    "numeric(5,2)": ["0.00", "1.00", "12.50", "-999.99"],
    "numeric(18,0)": ["0", "1", "999999999999999999", "9007199254740993"],
    "numeric(18,2)": ["0.00", "1.00", "12.34", "9999999999999999.99"],
    "numeric(18,4)": ["0.0000", "1.0000", "12.3456", "99999999999999.9999"],
    "real": ["0", "1", "0.1", "3.4e+38", "NaN", "Infinity"],
    "double precision": ["0", "1", "0.1", "123456.789", "1e+308"],
    "date": ["2024-02-29", "0001-01-01", "9999-12-31"],
    "time": ["00:00:00", "10:15:00", "24:00:00", "23:59:59.999999"],
    "timestamp": ["2024-02-29 00:00:00", "2024-02-29 23:30:00", "9999-12-31 23:59:59.999999", "infinity"],
    "timestamptz": ["2024-02-29 00:00:00+00", "2024-02-29 23:30:00+00", "2024-03-31 01:30:00+00"],
    "uuid": ["0f8fad5b-d9cb-469f-a165-70867728950e", "00000000-0000-0000-0000-000000000000"],
    "jsonb": [
        "null",
        "true",
        "7",
        '"text"',
        '{"a": [1, 2]}',
        '"2024-02-29"',
        '"10:15:00"',
        '"0f8fad5b-d9cb-469f-a165-70867728950e"',
        f'"{"x" * 50}"',
    ],
    "bytea": ["\\x", "\\x00ff", "\\x37", "\\x0f8fad5bd9cb469fa16570867728950e", f"\\x{'20' * 50}"],
}
# What a role or a database may say, and no conversion may follow.
ODD_SETTINGS = {
    "TimeZone": "America/New_York",
    "DateStyle": "SQL, DMY",
    "extra_float_digits": "-2",
    "bytea_output": "escape",
    "IntervalStyle": "sql_standard",
}
_LINE = re.compile(r"salesforce\.to_(\d+)\.from_(\d+): (.*)")
_COUNT = re.compile(r"([0-9,]+) of [0-9,]+ values? (cannot become that|would be cut)|([0-9,]+) values? lost in ")
_STOPS = """
CREATE OR REPLACE FUNCTION pg_temp.stops(value text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMP TABLE one (v {start});
    INSERT INTO one VALUES (value::{start});
    EXECUTE 'ALTER TABLE one ALTER v {change}';
    DROP TABLE one;
    RETURN false;
EXCEPTION WHEN others THEN
    RETURN true;
END $$
"""

Cell = tuple[str, str]
Values = dict[str, str | None]
# By the types of a cell, old and new.
Counts = Mapping[Cell, int]
Failing = Mapping[Cell, set[str]]


class Matrix:
    """A project with an object for each type to come to, which has a column of each type to come from."""

    def __init__(self, project: Project, types: Sequence[str]) -> None:
        """Apply the tables; fill each column with the values of its type, and a row with nulls."""
        self.project, self.types = project, types
        for name, value in ODD_SETTINGS.items():
            project.execute(f"ALTER DATABASE {project.target.database} SET {name} = '{value}'")
        self._write(lambda old, new: old)
        project.generate()
        project.apply()
        columns = ", ".join(map(self.column, types))
        with self.connection() as connection:
            for new in types:
                run_script(connection, f"INSERT INTO {self.table(new)} (id) VALUES ('null')")
                for number in range(max(len(VALUES[old]) for old in types)):
                    row = [VALUES[old][number] if number < len(VALUES[old]) else None for old in types]
                    places = ", ".join(f"%s::text::{old}" for old in types)
                    statement = f"INSERT INTO {self.table(new)} (id, {columns}) VALUES (%s, {places})"
                    connection.exec_driver_sql(statement, (str(number), *row))
            connection.commit()

    @property
    def cells(self) -> Iterator[Cell]:
        """The cells, as the type to come from and the type to come to."""
        return ((old, new) for new in self.types for old in self.types)

    def convert(self) -> str:
        """Have the columns of each object come to its type; return the revision."""
        self._write(lambda old, new: new)
        return str(self.project.generate().head)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Open a connection to the target with the settings of a revision."""
        with connect(self.project.target) as connection:
            run_script(connection, SETTINGS)
            yield connection

    def values(self) -> dict[Cell, Values]:
        """Return the values of each cell by the id of their row."""
        found: dict[Cell, Values] = {}
        with self.connection() as connection:
            for new in self.types:
                columns = ", ".join(f"{self.column(old)}::text" for old in self.types)
                rows = run_script(connection, f"SELECT id, {columns} FROM {self.table(new)}").all()
                for position, old in enumerate(self.types, 1):
                    found[old, new] = {row[0]: row[position] for row in rows if row[position] is not None}
        return found

    def find_failing(self, values: Mapping[Cell, Values], *, back: bool = False) -> Failing:
        """Try each value alone in a table of its own; return the rows of each cell whose value stops the change."""
        found: dict[Cell, set[str]] = {}
        with self.connection() as connection:
            for old, new in self.cells:
                start, end = (self.printed(connection, kind) for kind in ((new, old) if back else (old, new)))
                expression = using("v", start, end)
                change = f"TYPE {end}{f' USING {expression}' if expression else ''}"
                run_script(connection, _STOPS.format(start=start, change=change.replace("'", "''")))
                texts = values[old, new]
                query = "SELECT id FROM unnest(%s::text[], %s::text[]) AS v (id, v) WHERE pg_temp.stops(v)"
                failing = set(connection.exec_driver_sql(query, (list(texts), list(texts.values()))).scalars())
                if failing:
                    found[old, new] = failing
        return found

    def count_each(self) -> Counts:
        """Count of each column on its own how many values would be cut; none may be of those that stop the change."""
        found = {}
        with self.connection() as connection:
            for old, new in self.cells:
                start, end = self.printed(connection, old), self.printed(connection, new)
                conversions = Conversions(self.table(new), False, (self._conversion(old, start, end),))
                counted = count_conversions(connection, conversions, lock=False)
                assert counted is not None
                assert [item.failing for item in counted.outcomes] == [0]
                if cut := counted.outcomes[0].cut:
                    found[old, new] = cut
        return found

    def _conversion(self, old: str, start: str, end: str) -> Conversion:
        return Conversion(self.column(old), end, using(self.column(old), start, end))

    def find_changed(self, before: Mapping[Cell, Values], after: Mapping[Cell, Values]) -> Counts:
        """Return how many values of each cell, in the type that they come from, are not equal."""
        found = {}
        with self.connection() as connection:
            for cell, values in before.items():
                query = (
                    "SELECT count(*) FROM unnest(%s::text[], %s::text[]) AS v (a, b) "
                    f"WHERE a::{cell[0]} IS DISTINCT FROM b::{cell[0]}"
                )
                pairs = (list(values.values()), [after[cell].get(row) for row in values])
                if count := connection.exec_driver_sql(query, pairs).scalar_one():
                    found[cell] = count
        return found

    def clear(self, failing: Failing) -> None:
        """Take values out that stop the change."""
        for (old, new), rows in failing.items():
            self.project.execute(
                f"UPDATE {self.table(new)} SET {self.column(old)} = NULL WHERE id = ANY(%s)", sorted(rows)
            )

    def counts(self, message: str, told: Iterable[str] = ("cannot become that",)) -> Counts:
        """Read the counts of a refusal."""
        found: dict[Cell, int] = {}
        for new, old, line in _LINE.findall(message):
            for count, what, lost in _COUNT.findall(line):
                if (what or "lost") in told:
                    found[self.types[int(old)], self.types[int(new)]] = int(count or lost)
        return found

    def table(self, new: str) -> str:
        """Return the table whose columns come to a type."""
        return f"salesforce.to_{self.types.index(new)}"

    def column(self, old: str) -> str:
        """Return the name of the column that comes from a type."""
        return f"from_{self.types.index(old)}"

    @staticmethod
    def printed(connection: Connection, kind: str) -> str:
        """Return a type as PostgreSQL prints it."""
        found = run_script(connection, f"SELECT NULL::{kind}").cursor.pgresult  # type: ignore[union-attr]
        query = f"SELECT format_type({found.ftype(0)}, {found.fmod(0)})"
        return str(run_script(connection, query).scalar_one())

    def _write(self, kind: Callable[[str, str], str]) -> None:
        identity = {"name": "Id", "type": "id", "length": 18}
        objects = {}
        for position, new in enumerate(self.types):
            fields = [
                {"name": f"From_{number}", "type": "string", "choices": {"column_type": kind(old, new)}}
                for number, old in enumerate(self.types)
            ]
            objects[f"To_{position}"] = {"fields": [identity, *fields]}
        self.project.write_meta(objects)
