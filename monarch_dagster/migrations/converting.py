"""What becomes of the stored values of columns that get another type, counted on a target before they do.

How a statement is read is `alter_type`'s; when it is asked and what follows from it, `judging`'s and `data_loss`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, exc

from monarch_dagster.errors import counted
from monarch_dagster.migrations.alter_type import Conversion, Conversions, names_in
from monarch_dagster.migrations.planning.conversions import says_the_same
from monarch_dagster.migrations.recording import UNRECORDED
from monarch_dagster.postgres.engines import run_script
from monarch_dagster.postgres.quoting import literal, quote
from monarch_dagster.postgres.types import base_type

# What to do about values that cannot become their column's new type.
CORRECT_OR_KEEP = (
    "Correct those rows, then run again. Or keep the old type (a provider's column: put choices.column_type back in "
    "object_meta.json; else the model's), delete this revision and generate anew."
)
_TABLE = """
SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass({}) AND c.relkind IN ('r', 'p')
"""
_COLUMNS = """
SELECT attnum, attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
WHERE attrelid = {} AND attnum > 0 AND NOT attisdropped
"""
# Types with a length to which a cast cuts or fills up.
_CUT = ("character", "bit", "bit varying")
# A value is assigned to a variable as ALTER TABLE assigns it to the column: what is too long for it fails.
_FUNCTION = """
CREATE FUNCTION {function} RETURNS text LANGUAGE plpgsql AS $monarch_body$
#variable_conflict use_column
<<{table}>>
DECLARE
    {column}
    monarch_before {old} := {value};
    monarch_after {new};
    monarch_stage text := 'fails';
BEGIN
    monarch_after := {expression};
    IF monarch_after IS NULL AND {not_null} THEN RETURN 'fails'; END IF;
    IF monarch_before IS NULL THEN RETURN NULL; END IF;
    monarch_stage := 'cut';
    IF {same} THEN RETURN NULL; END IF;
    RETURN 'cut';
EXCEPTION
    -- The last one: NaN as an integer.
    WHEN data_exception OR integrity_constraint_violation OR feature_not_supported THEN RETURN monarch_stage;
    WHEN others THEN
        IF monarch_stage = 'fails' THEN RAISE; END IF;
        RETURN 'cut';
END
$monarch_body$
"""


@dataclass(frozen=True)
class Outcome:
    """What becomes of a column's values: how many there are, cannot become the new type, and would say less in it."""

    schema: str
    table: str
    column: str
    old: str
    new: str
    values: int
    failing: int
    cut: int

    @property
    def name(self) -> str:
        """The column's full name."""
        return f"{self.schema}.{self.table}.{self.column}"

    def __str__(self) -> str:
        """Tell the counts; the values themselves may be personal."""
        told = [
            f"{count:,} of {counted(self.values, 'value')} {what}"
            for count, what in ((self.failing, "cannot become that"), (self.cut, "would be cut"))
            if count
        ]
        return f"{self.name}: from {self.old} to {self.new}: {', '.join(told) or 'every value fits'}"


@dataclass(frozen=True)
class Counted:
    """What was counted of one table: its oid, the columns' numbers in it, and what becomes of the values of each."""

    table: int
    numbers: tuple[int, ...] = ()
    outcomes: tuple[Outcome, ...] = ()


@dataclass(frozen=True)
class _Column:
    number: int
    name: str
    type: str
    not_null: bool


@dataclass(frozen=True)
class _Table:
    """A table with its names in quotation marks; `only` leaves out what inherits from it."""

    schema: str
    name: str
    only: bool

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def source(self) -> str:
        return f"ONLY {self}" if self.only else str(self)


@dataclass(frozen=True)
class _Wanted:
    """One column's conversion: `new` is its type as PostgreSQL prints it, `domain` whether that is below a domain.

    `comparable` tells whether the type before knows an equality.
    """

    column: _Column
    conversion: Conversion
    new: str
    domain: bool
    comparable: bool

    @property
    def expression(self) -> str:
        return self.conversion.using or quote(self.column.name)

    def same(self, before: str, after: str) -> str:
        return says_the_same(self.column.type, self.new, before, after, comparable=self.comparable)


def count_conversions(connection: Connection, found: Conversions, *, lock: bool) -> Counted | None:
    """Count what becomes of the values of a table's columns, in one scan where all fit and in two else.

    With `lock` the table is locked as the statement itself does, so that the counts stay true. Functions of the session
    are made for it and dropped. Returns None where there is no such table. Raises SQLAlchemy's error where a conversion
    is one that PostgreSQL does not know.
    """
    tables = _run(connection, _TABLE.format(literal(found.table))).all()
    if not tables:
        return None
    oid, schema, table = tables[0]
    source = _Table(quote(schema), quote(table), found.only)
    if lock:
        _run(connection, f"LOCK TABLE {source.source} IN ACCESS EXCLUSIVE MODE")
    columns = {item.name: item for item in (_Column(*column) for column in _run(connection, _COLUMNS.format(oid)))}
    wanted = [
        _Wanted(column, item, *_printed(connection, item.type), _is_comparable(connection, column.type))
        for item in found.columns
        if (column := columns.get(item.column)) is not None
    ]
    if not wanted:
        return Counted(oid)
    counts = _count_fitting(connection, source, wanted) or _count_one_by_one(connection, source, columns, wanted)
    outcomes = [
        Outcome(schema, table, item.column.name, item.column.type, item.new, *counts[3 * n : 3 * n + 3])
        for n, item in enumerate(wanted)
    ]
    return Counted(oid, tuple(item.column.number for item in wanted), tuple(outcomes))


def _count_fitting(connection: Connection, table: _Table, wanted: Sequence[_Wanted]) -> Sequence[int] | None:
    """Return the counts where every value fits; None where one does not, or may not."""
    selected, counts = [], []
    for n, item in enumerate(wanted):
        name, numbers, is_array = base_type(item.new)
        if item.domain or (numbers and (is_array or name in _CUT)):
            return None
        # A cast cuts what is too long, an assignment refuses it.
        limited = name == "character varying" and bool(numbers)
        selected.append(
            f"{quote(item.column.name)} AS b{n}, ({item.expression})::{name if limited else item.new} AS a{n}"
        )
        odd = f"b{n} IS NOT NULL AND ({item.same(f'b{n}', f'a{n}')}) IS NOT TRUE"
        odd += f" OR char_length(a{n}) > {numbers[0]}" if limited else ""
        odd += f" OR a{n} IS NULL" if item.column.not_null else ""
        counts.append(f"count(b{n}), count(*) FILTER (WHERE {odd}), 0")
    # Without OFFSET each expression is put in wherever its result is used.
    query = f"SELECT {', '.join(counts)} FROM (SELECT {', '.join(selected)} FROM {table.source} OFFSET 0) AS s"
    found = _trying(connection, query, exc.DataError, exc.NotSupportedError, exc.IntegrityError, exc.ProgrammingError)
    numbers_found = found.one() if found is not None else None
    return None if numbers_found is None or any(numbers_found[1::3]) else numbers_found


def _count_one_by_one(
    connection: Connection, table: _Table, columns: Collection[str], wanted: Sequence[_Wanted]
) -> Sequence[int]:
    """Return the counts, with each value tried on its own."""
    functions, calls, counts = [], [], []
    for n, item in enumerate(wanted):
        # A row as a whole is slow to hand over.
        whole = bool(names_in(item.conversion.using) & (set(columns) - {item.column.name}))
        function = f"pg_temp.monarch_converts_{n}"
        functions.append(f"{function}({table if whole else item.column.type})")
        _run(connection, _function(functions[-1], table.name, item, whole))
        value = f"monarch_row.{quote(item.column.name)}"
        calls.append(f"{function}({'monarch_row' if whole else value}) AS o{n}, {value} AS v{n}")
        counts.append(f"count(v{n})")
        counts += [f"count(*) FILTER (WHERE o{n} = '{outcome}')" for outcome in ("fails", "cut")]
    query = f"SELECT {', '.join(counts)} FROM (SELECT {', '.join(calls)} FROM {table.source} AS monarch_row) AS s"
    numbers: Sequence[int] = _run(connection, query).one()
    _run(connection, f"DROP FUNCTION {', '.join(functions)}")
    return numbers


def _function(function: str, table: str, item: _Wanted, whole: bool) -> str:
    column = quote(item.column.name)
    expression = f"(SELECT {item.expression} FROM (SELECT ($1).*) AS {table})" if whole else item.expression
    return _FUNCTION.format(
        function=function,
        table=table,
        column="" if whole else f"{column} {item.column.type} := $1;",
        old=item.column.type,
        value=f"($1).{column}" if whole else "$1",
        new=item.conversion.type,
        expression=expression,
        not_null=item.column.not_null,
        same=item.same("monarch_before", "monarch_after"),
    )


def _is_comparable(connection: Connection, kind: str) -> bool:
    """Say whether a type knows an equality; json, for one, does not."""
    query = f"SELECT NULL::{kind} IS NOT DISTINCT FROM NULL::{kind}"
    return _trying(connection, query, exc.ProgrammingError) is not None


def _trying(connection: Connection, query: str, *errors: type[exc.DBAPIError]) -> Any:
    """Return the result of a query, None where it fails with one of `errors`."""
    _run(connection, "SAVEPOINT monarch_trying")
    try:
        return _run(connection, query)
    except errors:
        _run(connection, "ROLLBACK TO SAVEPOINT monarch_trying")
        return None


def _printed(connection: Connection, kind: str) -> tuple[str, bool]:
    """Return a type that stands in a statement as PostgreSQL prints it, a domain's as the type below it."""
    result = _run(connection, f"SELECT NULL::{kind}, pg_typeof(NULL::{kind})::oid")
    below, modifier = (read(0) for read in (result.cursor.pgresult.ftype, result.cursor.pgresult.fmod))
    domain = result.one()[1] != below
    return str(_run(connection, f"SELECT format_type({below}, {modifier})").scalar_one()), domain


def _run(connection: Connection, statement: str) -> Any:
    return run_script(connection, f"{statement}{UNRECORDED}")
