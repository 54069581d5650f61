"""Options: what a column may be given, and what columns that references tie together may be given together.

Pure: the rows that may be referred to are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from monarch_dagster.migrations.rows.rules import Column, Reference

MOST_OPTIONS = 1_000


class Left(Enum):
    """What stands for a column that is left to its default."""

    TO_DEFAULT = "DEFAULT"


Value = str | None | Left
Row = Mapping[str, Value]


def options_of(column: Column, values: Sequence[str], full: bool) -> list[tuple[Value, ...]]:
    """Return what a column may be given, the best first."""
    default: list[Value] = [] if column.default is None else [Left.TO_DEFAULT]
    null: list[Value] = [] if column.required else [None]
    given: list[Value] = list(dict.fromkeys(values))
    if full or (column.retyped and default):
        ordered = [*given, *default, *null]
    else:
        ordered = [*default, *given, *null] if default else [*null, *given]
    return [(value,) for value in ordered]


def tied(references: Sequence[Reference]) -> list[list[Reference]]:
    """Group references that share a column."""
    groups: list[list[Reference]] = []
    for item in references:
        shared = [group for group in groups if any(set(item.columns) & set(other.columns) for other in group)]
        groups = [group for group in groups if group not in shared]
        groups.append([*(other for group in shared for other in group), item])
    return groups


def joint(
    references: Sequence[Reference],
    rows: Mapping[Reference, Sequence[tuple[str, ...]]],
    columns: Sequence[str],
    rules: Mapping[str, Column],
    *,
    none_first: bool,
) -> list[tuple[Value, ...]]:
    """Return the values for the columns of references that share some: each of them refers to a row, or to none."""
    found: dict[tuple[Value, ...], None] = {}

    def extend(place: int, taken: dict[str, Value], none: tuple[Reference, ...]) -> None:
        if len(found) >= MOST_OPTIONS:
            return
        if place == len(references):
            if (option := _without(none, taken, columns, rules)) is not None:
                found[option] = None
            return
        item = references[place]
        choices: list[tuple[str, ...] | None] = [*rows[item]]
        if any(not rules[name].required for name in item.columns):
            choices = [None, *choices] if none_first else [*choices, None]
        for choice in choices:
            if choice is None:
                extend(place + 1, taken, (*none, item))
            elif all(taken.get(name, value) == value for name, value in zip(item.columns, choice, strict=True)):
                extend(place + 1, {**taken, **dict(zip(item.columns, choice, strict=True))}, none)

    extend(0, {}, ())
    return list(found)


def _without(
    none: Sequence[Reference], taken: Mapping[str, Value], columns: Sequence[str], rules: Mapping[str, Column]
) -> tuple[Value, ...] | None:
    """Complete the values so that the references `none` refer to nothing; return None where that cannot be."""
    nulls = {name for item in none for name in item.columns if name not in taken and not rules[name].required}
    for item in none:
        of_item = nulls & set(item.columns)
        if not of_item or (item.whole and of_item != set(item.columns)):
            return None
    free = [name for name in columns if name not in taken and name not in nulls]
    rest = {name: rules[name].values[0] for name in free if rules[name].values}
    option = {**taken, **dict.fromkeys(nulls), **rest}
    return tuple(option[name] for name in columns) if set(columns) <= set(option) else None
