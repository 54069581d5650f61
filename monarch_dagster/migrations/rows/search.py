"""Search: a row of one table that PostgreSQL takes, found by trying (a fixed number of times).

What a column may be given comes from `rules`. Conditions are put to PostgreSQL itself, for all combinations of values
at once; what it refuses in the end is not tried again. In which order tables get rows is `fill`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, product

from sqlalchemy import Connection, exc

from monarch_dagster.migrations.rows.choices import Rule, choose
from monarch_dagster.migrations.rows.options import Left, Row, Value, joint, options_of, tied
from monarch_dagster.migrations.rows.rules import Check, Column, Key, Reference, Table
from monarch_dagster.postgres.engines import first_line, run_script
from monarch_dagster.postgres.quoting import quote

TRIES = 40
MOST_COMBINATIONS = 20_000
MOST_APART = 200
DATA_EXCEPTION = "22"
CHECK_VIOLATION, UNIQUE_VIOLATION, EXCLUSION_VIOLATION, NOT_NULL_VIOLATION = "23514", "23505", "23P01", "23502"


ReferredRows = Callable[[Reference], Sequence[tuple[str, ...]]]


class NoRowError(Exception):
    """No row was found; the message is the reason."""


@dataclass(frozen=True)
class Variable:
    """Columns that are given values together, since references tie them, and the options they have."""

    columns: tuple[str, ...]
    options: Sequence[tuple[Value, ...]]


@dataclass
class Search:
    """The search for one row of `table`: with every column given (`full`), or with what is required only.

    Args:
        others: rows of the table, as far as its keys need to be told of them.
        referred: tells the values to choose from for a reference.
        open_: references that may dangle for now.
    """

    connection: Connection
    table: Table
    full: bool
    others: Sequence[Row]
    referred: ReferredRows
    open_: Sequence[Reference] = ()
    ahead: bool = field(default=False, init=False)  # heed what the table to come asks for as well
    refused: list[Row] = field(default_factory=list, init=False)

    def insert(self) -> Row:
        """Put a row into the table and return it; raise `NoRowError` where none was found."""
        if self.table.has_plans():
            self.ahead = True
            try:
                return self._insert()
            except NoRowError:
                # Both cannot be had; the table as it is now comes first.
                self.ahead, self.refused = False, []
        return self._insert()

    def guess(self) -> Row | None:
        """Return the row that is tried first; None where there is none, or PostgreSQL would have to be asked for it."""
        table = self.table
        if table.checks or table.references or any(key.deferrable for key in table.keys):
            return None
        self.ahead = table.has_plans()
        with suppress(NoRowError):
            return self._choose(self._variables({}), [])
        return None

    def _insert(self) -> Row:
        variables = self._variables({})
        rules = self._check_rules([check for check in self.table.checks if check.planned], variables)
        asked, reason = False, "no values satisfy its keys"
        for _ in range(TRIES):
            if (row := self._choose(variables, rules)) is None:
                break
            error = self._try(row)
            if error is None:
                return row
            reason = first_line(error)
            if not asked and self.table.checks and _sqlstate(error).startswith((CHECK_VIOLATION, DATA_EXCEPTION)):
                asked = True
                variables = self._variables(_shared(self.table.checks, variables, self.table.columns))
                rules = self._check_rules(self.table.checks, variables)
            elif not self._learn(error, row):
                break
        raise NoRowError(reason)

    def _variables(self, more: Mapping[str, Sequence[str]]) -> list[Variable]:
        """Return the variables of the table; `more` are further values for some columns."""
        table = self.table
        heeded = (item for item in table.references if self.ahead or not item.planned)
        live = [item for item in heeded if item not in self.open_ and set(item.columns) <= set(table.columns)]
        variables = []
        for group in tied(live):
            rows = {item: self._rows(item) for item in group}
            columns = tuple(dict.fromkeys(name for item in group for name in item.columns))
            options = joint(group, rows, columns, table.columns, none_first=not self.full)
            if not options:
                raise NoRowError("what it refers to has no rows that go together")
            variables.append(Variable(columns, options))
        # PostgreSQL does not watch a deferrable key while triggers are off, so its values must be known.
        known = {name for key in table.keys if key.deferrable for name in key.columns}
        together = {name for variable in variables for name in variable.columns}
        for name, column in table.columns.items():
            if name in together:
                continue
            options = options_of(column, [*column.values, *more.get(name, ())], self.full or name in known)
            if not options:
                raise NoRowError(f"no value of type {column.type} is known for its column {name}")
            variables.append(Variable((name,), options))
        return variables

    def _rows(self, reference: Reference) -> list[tuple[str, ...]]:
        # The full row refers to another row than the bare one, so that a reference may be a key as well.
        rows = self.referred(reference)
        return [*rows[1:], *rows[:1]] if self.full else list(rows)

    def _choose(self, variables: Sequence[Variable], rules: Sequence[Rule]) -> Row | None:
        every = [*rules, *self._key_rules(variables), *self._refusals(variables)]
        orders = [list(range(len(variable.options))) for variable in variables]
        taken = None
        if self.full:
            given = [
                [place for place in order if not {None, Left.TO_DEFAULT} & set(variable.options[place])] or order
                for order, variable in zip(orders, variables, strict=True)
            ]
            taken = choose(given, every)
        taken = taken or choose(orders, every)
        if taken is None:
            return None
        row: dict[str, Value] = {}
        for variable, place in zip(variables, taken, strict=True):
            row.update(zip(variable.columns, variable.options[place], strict=True))
        return row

    def _key_rules(self, variables: Sequence[Variable]) -> Iterator[Rule]:
        for key in self.table.keys:
            # What PostgreSQL numbers differs by itself.
            if key.columns and (self.ahead or not key.planned) and set(key.columns) <= set(self.table.columns):
                for other in self.others:
                    yield _rule(variables, key.columns, partial(_differs, key, other))

    def _refusals(self, variables: Sequence[Variable]) -> Iterator[Rule]:
        for refused in self.refused:
            yield _rule(variables, tuple(refused), partial(_is_new, refused))

    def _check_rules(self, checks: Sequence[Check], variables: Sequence[Variable]) -> list[Rule]:
        """Have PostgreSQL say which combinations satisfy each check; one that it cannot judge alone is no rule."""
        rules = []
        for check in checks:
            places = tuple(n for n, variable in enumerate(variables) if set(variable.columns) & set(check.columns))
            judged = places and set(check.columns) <= set(self.table.columns)
            if not judged or (check.planned and not self.ahead):
                continue
            try:
                allowed = self._judged(check, variables, places, MOST_COMBINATIONS)
            except exc.DBAPIError as error:
                if not _sqlstate(error).startswith(DATA_EXCEPTION):
                    continue
                allowed = self._judged_apart(check, variables, places)
            if allowed or not check.planned:
                rules.append(Rule(places, allowed.__contains__))
        return rules

    def _judged(
        self, check: Check, variables: Sequence[Variable], places: Sequence[int], most: int
    ) -> set[tuple[int, ...]]:
        most = max(2, math.floor(most ** (1 / len(places))))
        sources = [self._source(place, variables[place], check.columns, range(most)) for place in places]
        return self._satisfying(check, places, sources)

    def _judged_apart(self, check: Check, variables: Sequence[Variable], places: Sequence[int]) -> set[tuple[int, ...]]:
        """Judge each combination by itself, since some are an error: a cast that fails, a division by zero."""
        found: set[tuple[int, ...]] = set()
        numbers = (range(len(variables[place].options)) for place in places)
        for taken in islice(product(*numbers), MOST_APART):
            sources = [
                self._source(place, variables[place], check.columns, range(number, number + 1))
                for place, number in zip(places, taken, strict=True)
            ]
            with suppress(exc.DBAPIError):
                found |= self._satisfying(check, places, sources)
        return found

    def _satisfying(self, check: Check, places: Sequence[int], sources: Sequence[str]) -> set[tuple[int, ...]]:
        numbers = ", ".join(f'"#{place}"' for place in places)
        query = f"SELECT {numbers} FROM {', '.join(sources)} WHERE ({check.expression}) IS NOT FALSE"
        with self.connection.begin_nested():
            return {tuple(found) for found in run_script(self.connection, query)}

    def _source(self, place: int, variable: Variable, wanted: Sequence[str], numbers: range) -> str:
        names = [name for name in variable.columns if name in wanted]
        lines = []
        for number in range(numbers.start, min(numbers.stop, len(variable.options))):
            given = dict(zip(variable.columns, variable.options[number], strict=True))
            values = [self._typed(name, given[name]) for name in names]
            lines.append(f"({', '.join([str(number), *values])})")
        return f'(VALUES {", ".join(lines)}) AS "v{place}"("#{place}", {", ".join(map(quote, names))})'

    def _typed(self, name: str, value: Value) -> str:
        column = self.table.columns[name]
        text = f"({column.default})" if value is Left.TO_DEFAULT else _literal(value)
        return f"CAST({text} AS {column.type})"

    def _try(self, row: Row) -> exc.DBAPIError | None:
        try:
            run_script(
                self.connection, f"SAVEPOINT monarch_row; {insertion(self.table, row)}; RELEASE SAVEPOINT monarch_row"
            )
        except exc.DBAPIError as error:
            run_script(self.connection, "ROLLBACK TO SAVEPOINT monarch_row; RELEASE SAVEPOINT monarch_row")
            return error
        return None

    def _learn(self, error: exc.DBAPIError, row: Row) -> bool:
        """Note which values PostgreSQL refused; say whether anything was learned."""
        state, told = _sqlstate(error), getattr(error.orig, "diag", None)
        name, columns = getattr(told, "constraint_name", None) or "", tuple(row)
        if state == CHECK_VIOLATION:
            columns = next((item.columns for item in self.table.checks if item.name == name), ()) or columns
        elif state in (UNIQUE_VIOLATION, EXCLUSION_VIOLATION):
            columns = next((item.columns for item in self.table.keys if item.name == name), ()) or columns
        elif state == NOT_NULL_VIOLATION and getattr(told, "column_name", None) in row:
            columns = (str(told and told.column_name),)
        elif bad := [column for column in row if not self._accepted(column, row[column])]:
            self.refused += [{column: row[column]} for column in bad]
            return True
        else:
            return False
        refused = {column: row[column] for column in columns if column in row}
        self.refused.append(refused)
        return bool(refused)

    def _accepted(self, name: str, value: Value) -> bool:
        try:
            with self.connection.begin_nested():
                run_script(self.connection, f"SELECT {self._typed(name, value)}")
        except exc.DBAPIError:
            return False
        return True


def insertion(table: Table, row: Row) -> str:
    """Return the statement that puts a row into a table."""
    given = {name: value for name, value in row.items() if value is not Left.TO_DEFAULT}
    what = f"({', '.join(map(quote, given))}) VALUES ({', '.join(map(_literal, given.values()))})"
    return f"INSERT INTO {table.quoted} {what if given else 'DEFAULT VALUES'}"


def _rule(variables: Sequence[Variable], columns: Sequence[str], holds: Callable[[Row], bool]) -> Rule:
    """Return a rule on the values of some columns."""
    places = tuple(n for n, variable in enumerate(variables) if set(variable.columns) & set(columns))

    def allows(taken: tuple[int, ...]) -> bool:
        row: dict[str, Value] = {}
        for place, number in zip(places, taken, strict=True):
            row.update(zip(variables[place].columns, variables[place].options[number], strict=True))
        return holds(row)

    return Rule(places, allows)


def _differs(key: Key, other: Row, row: Row) -> bool:
    """Say whether a row may stand beside another one under a key."""

    def same(value: Value, beside: Value) -> bool:
        if Left.TO_DEFAULT in (value, beside):
            return key.deferrable
        return value == beside and (value is not None or not key.nulls_differ)

    return not all(name in other and same(row[name], other[name]) for name in key.columns)


def _is_new(refused: Row, row: Row) -> bool:
    return not refused.items() <= row.items()


def _sqlstate(error: exc.DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _literal(value: Value) -> str:
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


def _shared(
    checks: Sequence[Check], variables: Sequence[Variable], columns: Mapping[str, Column]
) -> dict[str, list[str]]:
    """Return, for each column, the values of other columns of its type that a check names together with it."""
    values: dict[str, dict[str, None]] = {name: {} for name in columns}
    for variable in variables:
        for name, *options in zip(variable.columns, *variable.options, strict=True):
            values[name].update(dict.fromkeys(value for value in options if isinstance(value, str)))
    found: dict[str, list[str]] = {name: [] for name in columns}
    for check in checks:
        of_table = [name for name in check.columns if name in columns]
        for name, other in product(of_table, of_table):
            if name != other and columns[name].type == columns[other].type:
                found[name] += values[other]
    return found
