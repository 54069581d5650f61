"""Enum types and sequences: created, changed and dropped. Pure.

Source: PostgreSQL, "ALTER TYPE": values of an enum can be added, and not be removed or put into another order. For that
the type is made anew under its name, and the columns that use it are converted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from monarch_dagster.migrations.hazards import SCAN
from monarch_dagster.migrations.planning.columns import columns_of
from monarch_dagster.migrations.planning.definitions import column_path, mentions
from monarch_dagster.migrations.planning.operation import Operation, Phase, Sql, qualified, split
from monarch_dagster.migrations.planning.words import Words, sequence_options
from monarch_dagster.migrations.revisions import Hazard
from monarch_dagster.postgres.quoting import identifier, literal
from monarch_dagster.schema.facts import Aspects, Facts

ENUM = "enum "
SEQUENCE = "sequence "
_LABEL = re.compile(r"E?'(?:[^']|'')*'")
_OWNER = re.compile(r"(.*?)(?: owned by (.*))?", re.DOTALL)
_ASIDE = "monarch_old_"


def printed(relation: str) -> str:
    """Return an enum's name as PostgreSQL prints it as the type of a column."""
    return qualified(relation)


def added_labels(before: str, after: str) -> list[tuple[str, str]] | None:
    """Return the labels to add, each with its place ("AFTER 'x'"); None where labels go or change their order."""
    old, new = _LABEL.findall(before), _LABEL.findall(after)
    if [label for label in new if label in old] != old:
        return None
    places = []
    for position, label in enumerate(new):
        if label not in old:
            following = next((item for item in new[position + 1 :] if item in old), None)
            place = f" BEFORE {following}" if following else ""
            places.append((label, f" AFTER {new[position - 1]}" if position and not following else place))
    return places


def replaced_enums(found: Facts, wanted: Facts) -> set[str]:
    """Return the enums that must be made anew under their names.

    Those that gain labels are among them where these may be used at once: a label that is added to a type can be used
    only when its transaction has ended.
    """
    both = {name for name in found.relations.keys() & wanted.relations.keys() if name.startswith(ENUM)}
    return {
        name
        for name in both
        if (old := found.relations[name]["definition"]) != (new := wanted.relations[name]["definition"])
        and (added_labels(old, new) is None or _is_used_at_once(name, found, wanted))
    }


def _is_used_at_once(name: str, found: Facts, wanted: Facts) -> bool:
    return any(
        mentions(definition, printed(name))
        for relation, aspects in wanted.relations.items()
        if not relation.startswith(ENUM) and aspects != found.relations.get(relation)
        for aspect, definition in aspects.items()
        if definition != found.relations.get(relation, {}).get(aspect)
    )


def recast_columns(aspects: Aspects, enums: set[str]) -> set[str]:
    """Return the columns of a table whose type is one of `enums`, or an array of it."""
    names = {printed(name) for name in enums}
    return {name for name, parts in columns_of(aspects).items() if parts.type.removesuffix("[]") in names}


def plan_enums(found: Facts, wanted: Facts, used: set[str]) -> Iterator[Operation]:
    """Give the operations on enum types; `used` are those that columns which stay are of."""
    replaced = replaced_enums(found, wanted)
    for name in sorted(item for item in {*found.relations, *wanted.relations} if item.startswith(ENUM)):
        old, new = (facts.relations.get(name, {}).get("definition") for facts in (found, wanted))
        create = Sql(f"CREATE TYPE {qualified(name)} AS ENUM ({new})")
        if old is None:
            yield Operation(Phase.CREATE_TYPE, (name, 1), (create,))
        elif new is None:
            yield Operation(Phase.DROP_TYPE, (name,), (Sql(f"DROP TYPE {qualified(name)}"),))
        elif name in replaced:
            aside = identifier(f"{_ASIDE}{split(name)[1]}"[:63])
            move = Sql(f"ALTER TYPE {qualified(name)} RENAME TO {aside}")
            gone = [label for label in _LABEL.findall(old) if label not in _LABEL.findall(new)]
            detail = f"a row with {', '.join(gone)} stops it" if gone else ""
            hazards = (Hazard(SCAN, name.removeprefix(ENUM), detail),) if gone and name in used else ()
            yield Operation(Phase.CREATE_TYPE, (name, 1), (move, create), hazards)
            drop = Sql(f"DROP TYPE {identifier(split(name)[0])}.{aside}")
            yield Operation(Phase.DROP_TYPE, (name,), (drop,))
        elif old != new:
            added = added_labels(old, new) or []
            actions = tuple(Sql(f"ALTER TYPE {qualified(name)} ADD VALUE {label}{place}") for label, place in added)
            yield Operation(Phase.CREATE_TYPE, (name, 0), actions)


def plan_sequences(found: Facts, wanted: Facts, words: Words) -> Iterator[Operation]:
    """Give the operations on sequences that stand on their own or fill the default of a column."""
    before, after = (
        {name: _taken_apart(aspects["definition"]) for name, aspects in facts.relations.items() if _is_sequence(name)}
        for facts in (found, wanted)
    )
    renamed = _renamed_sequences(before, after)
    for old, new in sorted(renamed.items()):
        statement = Sql(f"ALTER SEQUENCE {qualified(old)} RENAME TO {identifier(split(new)[1])}")
        yield Operation(Phase.RENAME, (old,), (statement,))
    for name in sorted(before.keys() - after.keys() - renamed.keys()):
        owner = before[name][1]
        kept = bool(owner) and _has_column(owner, wanted)
        # Else it goes with its column.
        if kept or not owner:
            # It is in no default any more; an identity may come in its place.
            phase = Phase.DROP_OWNED_SEQUENCE if kept else Phase.DROP_SEQUENCE
            yield Operation(phase, (name,), (Sql(f"DROP SEQUENCE {qualified(name)}"),))
    for name in sorted(after.keys() - set(renamed.values())):
        (options, owner), (known, owned) = after[name], before.get(name, ("", ""))
        if name not in before and _comes_with_owner(owner, found, words):
            continue
        if name not in before:
            create = Sql(f"CREATE SEQUENCE {qualified(name)} AS {_options(options)}")
            yield Operation(Phase.CREATE_SEQUENCE, (name,), (create,))
        elif options != known:
            alter = Sql(f"ALTER SEQUENCE {qualified(name)} AS {_options(options)}{_no_cycle(options)}")
            yield Operation(Phase.CREATE_SEQUENCE, (name,), (alter,))
        if owner != owned:
            own = Sql(f"ALTER SEQUENCE {qualified(name)} OWNED BY {owner or 'NONE'}")
            # A column that goes would take it along.
            phase = Phase.OWN_SEQUENCE if owner else Phase.CREATE_SEQUENCE
            yield Operation(phase, (name, "owner"), (own,))
        if name not in before and owner and _has_column(owner, found):
            yield _advanced(name, owner)


def _advanced(name: str, owner: str) -> Operation:
    """Have a new sequence go on behind the values that its column holds; it would begin among them."""
    relation, column = column_path(owner)
    top = f"max({identifier(column)})"
    advance = f"SELECT setval({literal(qualified(name))}, {top}) FROM {qualified(relation)} HAVING {top} > 0"
    return Operation(Phase.OWN_SEQUENCE, (name, "then"), (Sql(advance),))


def _is_sequence(name: str) -> bool:
    return name.startswith(SEQUENCE)


def _taken_apart(definition: str) -> tuple[str, str]:
    parts = _OWNER.fullmatch(definition)
    assert parts is not None  # it matches any text
    return parts[1], parts[2] or ""


def _options(options: str) -> str:
    kind, _, rest = options.partition(" start ")
    return f"{kind} {sequence_options(f'start {rest}')}"


def _no_cycle(options: str) -> str:
    return "" if options.endswith(" cycle") else " NO CYCLE"


def _renamed_sequences(before: Mapping[str, tuple[str, str]], after: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Pair sequences that lost their name with new ones of the same column: a table or column was renamed."""
    new = {after[name]: name for name in sorted(after.keys() - before.keys()) if after[name][1]}
    return {
        old: new[before[old]]
        for old in sorted(before.keys() - after.keys())
        if before[old] in new and split(old)[0] == split(new[before[old]])[0]
    }


def _has_column(owner: str, facts: Facts) -> bool:
    relation, name = column_path(owner)
    return f"column {name}" in facts.relations.get(f"table {relation}", {})


def _comes_with_owner(owner: str, found: Facts, words: Words) -> bool:
    """Say whether the model's words for a new table with a serial column make its sequence."""
    if not owner:
        return False
    relation, name = column_path(owner)
    return f"table {relation}" not in found.relations and words.is_serial(f"table {relation}", name)
