"""Words: how a thing that the facts describe is created.

Where the sources declare it, in the words of the model, so that a reviewer meets what the author wrote; else as
PostgreSQL prints it, which is exact for anything. Upgrades mostly have the former, downgrades always the latter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from alembic.operations import ops
from alembic.util import sqla_compat
from sqlalchemy import Column, Constraint, ForeignKeyConstraint, Index, MetaData, Table
from sqlalchemy.dialects import postgresql

from monarch_dagster.migrations.planning.definitions import concurrent_index
from monarch_dagster.migrations.planning.operation import Action, Sql, qualified, split, view_kind
from monarch_dagster.postgres.quoting import identifier, literal
from monarch_dagster.schema.declared import View
from monarch_dagster.schema.facts import Aspects, Facts, parse_column

_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
# Alembic renders no operation for a primary key alone.
_CONSTRAINTS: dict[str, type[ops.AddConstraintOp]] = {
    "unique_constraint": ops.CreateUniqueConstraintOp,
    "check_constraint": ops.CreateCheckConstraintOp,
    "foreign_key_constraint": ops.CreateForeignKeyOp,
}


@dataclass(frozen=True)
class Words:
    """The words for one side of a plan: its facts, and what the models declare of it (nothing for a downgrade).

    `unsaid` has relation and aspect of what the models declare in another way than it is wanted here, or not at all:
    a later revision makes it so.
    """

    facts: Facts
    metadata: MetaData = field(default_factory=MetaData)
    views: tuple[View, ...] = ()
    unsaid: frozenset[tuple[str, str]] = frozenset()

    def table(self, relation: str, late: Collection[str]) -> tuple[Action, ...]:
        """Return what creates a table with its indexes; the foreign keys named in `late` are left out."""
        aspects = self.facts.relations[relation]
        model = self._model(relation)
        others = {aspect for name, aspect in self.unsaid if name == relation}
        # Alembic renders no table without columns.
        if model is not None and model.columns and not any(_differs(aspect, aspects) for aspect in others):
            create = ops.CreateTableOp.from_table(model)
            create.info = {}  # what it says is for generating, and would be rendered
            create.columns = [
                item
                for item in create.columns
                if _aspect(item) not in others
                and (not isinstance(item, ForeignKeyConstraint) or _stands(item, aspects, late))
            ]
            # Rendered as it stands; to be rendered, Alembic copies each column first.
            create.to_table = partial(_Shown, create)  # type: ignore[assignment, method-assign]
            made: list[Action] = [create]
        else:
            made = [Sql(self._create_table(relation, late)), *self._comments(relation)]
        indexes = sorted(name.removeprefix("index ") for name in aspects if name.startswith("index "))
        return (*made, *(self.index(relation, name) for name in indexes), *self._attached(relation))

    def is_serial(self, relation: str, column: str) -> bool:
        """Say whether the model's words for the column make a sequence for it."""
        found = self.model_column(relation, column)
        return found is not None and found.table._autoincrement_column is found and found.server_default is None

    def column(self, relation: str, name: str) -> Action:
        """Return what adds a column, with its comment where the model has the words."""
        model = self.model_column(relation, name)
        # Alembic adds a serial column without its sequence.
        if model is not None and not self.is_serial(relation, name):
            schema, table = split(relation)
            return ops.AddColumnOp.from_column_and_tablename(schema, table, model)
        definition = self._column_sql(name, self.facts.relations[relation][f"column {name}"])
        return Sql(f"ALTER TABLE {qualified(relation)} ADD COLUMN {definition}")

    def model_column(self, relation: str, name: str) -> Column[Any] | None:
        """Return the model's column; None where no model declares it so."""
        model = self._model(relation)
        if model is None or {(relation, f"column {name}"), (relation, f"comment on column {name}")} & self.unsaid:
            return None
        return next((item for item in model.columns if item.name == name), None)

    def constraint(self, relation: str, name: str, *, not_valid: bool = False) -> Action:
        """Return what adds a constraint, unchecked for the rows that are there where `not_valid` is set."""
        model = self._constraints(relation).get(name) if self._says(relation, f"constraint {name}") else None
        kind = _CONSTRAINTS.get(model.__visit_name__) if model is not None else None
        if model is not None and kind is not None:
            found = kind.from_constraint(model)
            found.kw.pop("use_alter", None)  # type: ignore[attr-defined]
            if not_valid:
                found.kw["postgresql_not_valid"] = True  # type: ignore[attr-defined]
            return found
        return Sql(
            f"ALTER TABLE {qualified(relation)} ADD CONSTRAINT {identifier(name)} "
            + self.facts.relations[relation][f"constraint {name}"]
        )

    def index(self, relation: str, name: str, *, concurrently: bool = False) -> ops.CreateIndexOp | Sql:
        """Return what creates an index."""
        model = self._indexes(relation).get(name) if self._says(relation, f"index {name}") else None
        if model is None:
            definition = self.facts.relations[relation][f"index {name}"]
            return Sql(concurrent_index(definition) if concurrently else definition)
        found = ops.CreateIndexOp.from_index(model)
        if concurrently:
            found.kw["postgresql_concurrently"] = True
            found.if_not_exists = True
        return found

    def view(self, relation: str) -> tuple[Action, ...]:
        """Return what creates a view, with all that is attached to it."""
        aspects = self.facts.relations[relation]
        schema, name = split(relation)
        select = next(
            (
                item.select
                for item in self.views
                if (item.schema, item.name) == (schema, name) and self._says(relation, "definition")
            ),
            aspects["definition"],
        )
        options = f" WITH ({aspects['options']})" if "options" in aspects else ""
        kind = view_kind(relation)
        create = Sql(f"CREATE {kind} {qualified(relation)}{options} AS\n{select.strip().removesuffix(';')}")
        attached = [Sql(value) for name, value in sorted(aspects.items()) if name.startswith("index ")]
        if comment := aspects.get("comment"):
            attached.append(Sql(f"COMMENT ON {kind} {qualified(relation)} IS {literal(comment)}"))
        return (create, *attached, *self._attached(relation))

    def _create_table(self, relation: str, late: Collection[str]) -> str:
        aspects = self.facts.relations[relation]
        lines = [
            self._column_sql(name.removeprefix("column "), value)
            for name, value in aspects.items()
            if name.startswith("column ")
        ]
        constraints = {
            name.removeprefix("constraint "): name for name in sorted(aspects) if name.startswith("constraint ")
        }
        lines += [
            f"CONSTRAINT {identifier(name)} {aspects[key]}" for name, key in constraints.items() if name not in late
        ]
        unlogged = "UNLOGGED " if aspects.get("persistence") == "unlogged" else ""
        body = ",\n    ".join(lines)
        parts = [f"CREATE {unlogged}TABLE {qualified(relation)} (\n    {body}\n)"]
        parts += [f"INHERITS ({aspects['inherits']})"] if "inherits" in aspects else []
        parts += [f"PARTITION BY {aspects['partitioned by']}"] if "partitioned by" in aspects else []
        parts += [f"WITH ({aspects['options']})"] if "options" in aspects else []
        return " ".join(parts)

    def _comments(self, relation: str) -> Iterator[Action]:
        aspects = self.facts.relations[relation]
        if "comment" in aspects:
            yield Sql(f"COMMENT ON TABLE {qualified(relation)} IS {literal(aspects['comment'])}")
        for name, value in aspects.items():
            if name.startswith("comment on column "):
                column = identifier(name.removeprefix("comment on column "))
                yield Sql(f"COMMENT ON COLUMN {qualified(relation)}.{column} IS {literal(value)}")

    def _attached(self, relation: str) -> Iterator[Action]:
        """Restore what was attached by hand, as far as PostgreSQL prints a statement for it; proof finds the rest."""
        for name, value in sorted(self.facts.relations[relation].items()):
            if name.startswith(("trigger ", "rule ", "statistics ")):
                yield Sql(value)
            elif name == "row security":
                yield from (
                    Sql(f"ALTER TABLE {qualified(relation)} {word} ROW LEVEL SECURITY")
                    for state, word in (("enabled", "ENABLE"), ("FORCE", "FORCE"))
                    if state in value
                )
            elif name.startswith("default of column "):
                column = identifier(name.removeprefix("default of column "))
                yield Sql(f"ALTER VIEW {qualified(relation)} ALTER COLUMN {column} SET DEFAULT {value}")

    @staticmethod
    def _column_sql(name: str, definition: str) -> str:
        parts = parse_column(definition)
        words = [identifier(name), parts.type]
        words += [f"COLLATE {parts.collation}"] if parts.collation else []
        words += [f"DEFAULT {parts.default}"] if parts.default else []
        words += [f"GENERATED ALWAYS AS {parts.generated}"] if parts.generated else []
        words += [identity_sql(parts.identity)] if parts.identity else []
        words += ["NOT NULL"] if parts.not_null else []
        return " ".join(words)

    def _says(self, relation: str, aspect: str) -> bool:
        return (relation, aspect) not in self.unsaid

    def _model(self, relation: str) -> Table | None:
        return self._tables.get(relation)

    @cached_property
    def _tables(self) -> dict[str, Table]:
        return {f"table {table.schema}.{table.name}": table for table in self.metadata.tables.values()}

    def _constraints(self, relation: str) -> dict[str, Constraint]:
        model = self._model(relation)
        return {} if model is None else {_final_name(item): item for item in model.constraints}

    def _indexes(self, relation: str) -> dict[str, Index]:
        model = self._model(relation)
        return {} if model is None else {_final_name(item): item for item in model.indexes}


@dataclass(frozen=True)
class _Shown:
    """What Alembic looks at of the table that an operation creates when it renders it."""

    create: ops.CreateTableOp
    info: Mapping[Any, Any] = field(default_factory=dict)

    @property
    def columns(self) -> list[Column[Any]]:
        return [item for item in self.create.columns if isinstance(item, Column)]

    @property
    def constraints(self) -> list[Constraint]:
        return [item for item in self.create.columns if isinstance(item, Constraint)]

    @property
    def comment(self) -> str | None:
        return None if self.create.comment is None else str(self.create.comment)

    @property
    def _prefixes(self) -> Sequence[str]:
        return self.create.prefixes or ()


def identity_sql(identity: str) -> str:
    """Return an identity with its options as they stand in a statement, from the form that facts have."""
    head, _, options = identity.partition(" (")
    return f"{head} ({sequence_options(options.removesuffix(')'))})" if options else head


def sequence_options(options: str) -> str:
    """Return a sequence's options, "start 1 increment 1 min 1 …", as they stand in a statement."""
    renamed = {"min": "MINVALUE", "max": "MAXVALUE", "start": "START WITH", "increment": "INCREMENT BY"}
    return " ".join(renamed.get(word, word.upper()) for word in options.split())


def _stands(key: ForeignKeyConstraint, aspects: Aspects, late: Collection[str]) -> bool:
    name = _final_name(key)
    return name not in late and f"constraint {name}" in aspects


def _differs(aspect: str, aspects: Aspects) -> bool:
    """Say whether what the models say otherwise is more than a column, constraint or index that is not there yet."""
    part = aspect.removeprefix("comment on ")
    return part in aspects or not part.startswith(("column ", "constraint ", "index "))


def _aspect(item: object) -> str:
    """Return the aspect that a column or constraint is in facts; "" for anything else."""
    match item:
        case Column():
            return f"column {item.name}"
        case Constraint():
            return f"constraint {_final_name(item)}"
        case _:
            return ""


def _final_name(item: Constraint | Index) -> str:
    """Return the name that PostgreSQL gets: by the naming convention, and shortened, where that applies."""
    name = sqla_compat._get_constraint_final_name(item, _DIALECT)
    return "" if name is None else str(name)
