"""Fill: a few generic rows in the tables of a shadow, so that a proof sees what a revision does to rows.

Holds the order in which tables get rows, and the closing of cycles of foreign keys. The rows themselves are `search`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, exc

from monarch_dagster.migrations.rows.options import Row
from monarch_dagster.migrations.rows.reading import read_tables
from monarch_dagster.migrations.rows.rules import Reference, Table
from monarch_dagster.migrations.rows.search import NoRowError, Search, insertion
from monarch_dagster.postgres.engines import first_line, run_script
from monarch_dagster.postgres.quoting import quote
from monarch_dagster.schema.facts import Facts

REFERRED_ROWS = 4
UNWATCHED_ROWS = 1_000
# So many tables are filled in a round trip.
TOGETHER = 100


@dataclass(frozen=True)
class Filled:
    """How many rows each table ("schema.table") was given, and why a table was given none."""

    rows: Mapping[str, int]
    empty: Mapping[str, str]


def fill(connection: Connection, tables: Sequence[str], wanted: Facts | None) -> Filled:
    """Put two rows into each of the named tables, and into those that they refer to: one full, one as bare as may be.

    Triggers do not fire where the role may switch them off. All of it is done in the connection's transaction, which is
    not committed.

    Args:
        connection: a connection to a database whose contents matter to nobody.
        tables: the tables as "schema.table"; partitioned ones and those without columns are passed over.
        wanted: the facts after the revision at hand; rows are chosen so that they outlive the change where they can.

    A table for which no row is found is left empty and reported.
    """
    known = read_tables(connection, tables, wanted)
    filling = _Filling(connection, known)
    with _without_triggers(connection):
        guessed = filling.fill_by_guess([table for table in known.values() if table.fillable and not table.needs()])
        for group in _groups(known):
            if not {table.oid for table in group} <= guessed:
                filling.fill_group(group)
    fillable = [table for table in known.values() if table.fillable]
    return Filled(
        {table.name: len(filling.stored[table.oid]) for table in fillable},
        {table.name: filling.reasons[table.oid] for table in fillable if not filling.stored[table.oid]},
    )


@dataclass
class _Filling:
    connection: Connection
    tables: Mapping[int, Table]
    stored: defaultdict[int, list[Row]] = field(default_factory=lambda: defaultdict(list))
    reasons: dict[int, str] = field(default_factory=dict)
    found: dict[tuple[int, tuple[str, ...]], list[tuple[str, ...]]] = field(default_factory=dict)

    def fill_by_guess(self, tables: Sequence[Table]) -> set[int]:
        """Fill tables that refer to none, many in a round trip; return those that took what was guessed for them."""
        guessed = [(table, rows) for table in tables if (rows := self._guessed(table))]
        filled: set[int] = set()
        for start in range(0, len(guessed), TOGETHER):
            some = guessed[start : start + TOGETHER]
            script = "; ".join(insertion(table, row) for table, rows in some for row in rows)
            try:
                run_script(self.connection, f"SAVEPOINT monarch_rows; {script}; RELEASE SAVEPOINT monarch_rows")
            except exc.DBAPIError:
                run_script(self.connection, "ROLLBACK TO SAVEPOINT monarch_rows; RELEASE SAVEPOINT monarch_rows")
                continue
            for table, rows in some:
                self.stored[table.oid] = rows
                filled.add(table.oid)
        return filled

    def _guessed(self, table: Table) -> list[Row]:
        """Return the two rows that are tried first, none where PostgreSQL has to be asked for one of them."""
        rows: list[Row] = []
        for full in (False, True):
            row = Search(self.connection, table, full, rows, self._referred).guess()
            if row is None:
                return []
            rows.append(row)
        return rows

    def fill_group(self, group: Sequence[Table]) -> None:
        """Fill tables that refer to each other in a circle, or one table."""
        inside = {table.oid for table in group}
        open_: list[tuple[Table, Reference]] = []
        # Of columns that PostgreSQL fills, nobody knows what they refer to.
        unknown = [
            (table, item) for table in group for item in table.references if not set(item.columns) <= set(table.columns)
        ]
        watched = bool(unknown) or any(table.needs() & inside for table in group)
        if watched:
            run_script(self.connection, "SAVEPOINT monarch_group; SET CONSTRAINTS ALL DEFERRED")
        for full in (False, True):
            for table in group:
                if table.fillable:
                    open_ += [(table, item) for item in self._add_row(table, full, inside)]
        if not watched:
            return
        try:
            self._close(open_, unknown)
            run_script(self.connection, "SET CONSTRAINTS ALL IMMEDIATE; RELEASE SAVEPOINT monarch_group")
        except (exc.DBAPIError, NoRowError) as error:
            run_script(self.connection, "ROLLBACK TO SAVEPOINT monarch_group; RELEASE SAVEPOINT monarch_group")
            told = first_line(error) if isinstance(error, exc.DBAPIError) else str(error)
            for table in group:
                self.stored[table.oid] = []
                self._forget(table.oid)
                self.reasons[table.oid] = told

    def _add_row(self, table: Table, full: bool, inside: set[int]) -> Sequence[Reference]:
        """Try to put one row into a table; return the references of it that dangle."""
        circular = [
            item
            for item in table.references
            if item.table in inside
            and all(name in table.columns and table.columns[name].required for name in item.columns)
        ]
        # Where each row must have a row of its own to refer to, there may be none left.
        for open_ in ([item for item in circular if not self._referred(item)], circular):
            others = [*self._unwatched(table), *self.stored[table.oid]]
            search = Search(self.connection, table, full, others, self._referred, open_)
            try:
                self.stored[table.oid].append(search.insert())
            except NoRowError as error:
                self.reasons[table.oid] = str(error)
                if open_ == circular:
                    break
                continue
            self._forget(table.oid)
            return open_
        return []

    def _unwatched(self, table: Table) -> list[Row]:
        """Return what stands in the deferrable keys of a table: nothing watches them while triggers are off."""
        keys = [key.columns for key in table.keys if key.deferrable and key.columns]
        queries = (f"SELECT {_texts(columns)} FROM {table.quoted} LIMIT {UNWATCHED_ROWS}" for columns in keys)
        return [
            dict(zip(columns, row, strict=True))
            for columns, query in zip(keys, queries, strict=True)
            for row in run_script(self.connection, query)
        ]

    def _forget(self, oid: int) -> None:
        of_table = {oid, *(table.oid for table in self.tables.values() if oid in table.parts)}
        self.found = {key: rows for key, rows in self.found.items() if key[0] not in of_table}

    def _referred(self, reference: Reference) -> Sequence[tuple[str, ...]]:
        if not reference.table:
            return []
        key = (reference.table, reference.referred)
        if key not in self.found:
            rows = f"{self.tables[reference.table].quoted} WHERE ({_names(reference.referred)}) IS NOT NULL"
            query = f"SELECT {_texts(reference.referred)} FROM {rows} LIMIT {REFERRED_ROWS}"
            self.found[key] = [tuple(row) for row in run_script(self.connection, query)]
        return self.found[key]

    def _close(self, open_: Sequence[tuple[Table, Reference]], unknown: Sequence[tuple[Table, Reference]]) -> None:
        """Make references that dangle refer to rows; raise `NoRowError` where one dangles in the end."""
        # Closing one may change what another one refers to.
        for _ in range(2):
            for table, item in open_:
                run_script(self.connection, self._closing(table, item))
        for table, item in (*open_, *unknown):
            if run_script(self.connection, f"SELECT 1 FROM {table.quoted} c WHERE {self._dangling(item)}").first():
                raise NoRowError(f"no row that {', '.join(item.columns)} refers to could be had")

    def _closing(self, table: Table, item: Reference) -> str:
        own, other = _names(item.columns), self.tables[item.table].quoted
        # The n-th row refers to the n-th, so that a reference may be a key as well, and a table refer to itself.
        places = "row_number() OVER (ORDER BY ctid) - 1, count(*) OVER ()"
        numbered = f"SELECT {_names(item.referred)}, {places} FROM {other}"
        place = f"(SELECT count(*) FROM {table.quoted} b WHERE b.ctid < c.ctid)"
        row = f'SELECT {own} FROM ({numbered}) r({own}, "#", "##") WHERE "#" = {place} % "##"'
        return f"UPDATE {table.quoted} c SET ({own}) = ({row}) WHERE {self._dangling(item)}"

    def _dangling(self, item: Reference) -> str:
        pairs = zip(item.columns, item.referred, strict=True)
        same = " AND ".join(f"r.{quote(referred)} = c.{quote(own)}" for own, referred in pairs)
        null = " OR ".join(f"c.{quote(own)} IS NULL" for own in item.columns)
        return f"NOT ({null}) AND NOT EXISTS (SELECT FROM {self.tables[item.table].quoted} r WHERE {same})"


def _groups(tables: Mapping[int, Table]) -> list[list[Table]]:
    """Return the tables in an order in which each follows what it refers to, those of one circle together."""
    groups: defaultdict[frozenset[int], list[Table]] = defaultdict(list)
    for oid, table in tables.items():
        found, queue = {oid}, [oid]
        while queue:
            new = tables[queue.pop()].needs() - found
            found |= new
            queue += new
        groups[frozenset(found)].append(table)
    # What reaches the same tables is one circle; what is referred to reaches fewer than what refers to it.
    return [groups[reached] for reached in sorted(groups, key=len)]


@contextmanager
def _without_triggers(connection: Connection) -> Iterator[None]:
    before = run_script(connection, "SHOW session_replication_role").scalar_one()
    try:
        with connection.begin_nested():
            run_script(connection, "SET LOCAL session_replication_role = replica")
    except exc.DBAPIError:
        yield  # a role without that right: triggers fire
        return
    yield
    run_script(connection, f"SET LOCAL session_replication_role = {before}")


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(quote, columns))


def _texts(columns: Sequence[str]) -> str:
    return ", ".join(f"{quote(name)}::text" for name in columns)
