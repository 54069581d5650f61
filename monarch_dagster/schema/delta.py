"""What a change did, done once more to other facts: a merge of three, aspect by aspect. Pure.

Definitions that hold several things are merged by those: a column by its type, the source of its value and whether it
may be null; an enum type by its labels. Where both sides changed one thing, the change that is done now wins; what is
no longer there is not changed, and does not come back.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from monarch_dagster.schema.facts import Aspects, Facts, column_parts, differences

COLUMN = "column "
ENUM = "enum "
SCHEMA = "schema "
_LABEL = re.compile(r"E?'(?:[^']|'')*'")


def apply_delta(current: Facts, before: Facts, after: Facts) -> Facts:
    """Return the facts that `current` comes to when the change from `before` to `after` is made to it."""
    relations: dict[str, Aspects] = dict(current.relations)
    used = dict(current.dependencies)
    for name in sorted({change.relation for change in differences(after, before)}):
        old, new, here = before.relations.get(name), after.relations.get(name), relations.get(name)
        if new is None:
            relations.pop(name, None)
        elif old is None or here is not None:
            relations[name] = _changed(name, here or {}, old or {}, new)
            if name in after.dependencies:
                used[name] = after.dependencies[name]
    # What stands in a schema keeps it.
    schemas = {
        name: aspects
        for facts in (before, after, current)
        for name, aspects in facts.relations.items()
        if name.startswith(SCHEMA)
    }
    for name in sorted({_schema(relation) for relation in relations} & schemas.keys() - relations.keys()):
        relations[name] = schemas[name]
    return Facts(relations, {name: pairs for name, pairs in used.items() if name in relations})


def spelled(facts: Facts, models: Facts, relations: Collection[str]) -> Facts:
    """Return `facts` with the definitions of the named relations as `models` have them, where they have them.

    PostgreSQL prints an expression by the types of what it is about, which another change may have altered.
    """
    found = {
        name: {aspect: models.relations.get(name, {}).get(aspect, value) for aspect, value in aspects.items()}
        if name in relations
        else aspects
        for name, aspects in facts.relations.items()
    }
    used = {name: models.dependencies[name] for name in relations if name in models.dependencies and name in found}
    return Facts(found, {**facts.dependencies, **used})


def unsaid(facts: Facts, models: Facts) -> frozenset[tuple[str, str]]:
    """Return relation and aspect of all that could be declared and is not in the models as it is in `facts`."""
    return frozenset((item.relation, item.aspect) for item in differences(facts.declarable(), models))


def _changed(name: str, here: Aspects, old: Aspects, new: Aspects) -> Aspects:
    result = dict(here)
    for aspect in (*new, *(old.keys() - new.keys())):
        before, after, now = old.get(aspect), new.get(aspect), here.get(aspect)
        if before == after:
            continue
        if after is None:
            result.pop(aspect, None)
        elif before is None:
            result[aspect] = after
        elif now is not None:
            result[aspect] = _merged(name, aspect, now, before, after)
    return result


def _merged(name: str, aspect: str, now: str, before: str, after: str) -> str:
    if now == before:
        return after
    if aspect.startswith(COLUMN):
        parts = zip(column_parts(now), column_parts(before), column_parts(after), strict=True)
        return "".join(here if old == new else new for here, old, new in parts)
    if name.startswith(ENUM) and aspect == "definition":
        return ", ".join(_labels(*(_LABEL.findall(text) for text in (now, before, after))))
    return after


def _labels(now: list[str], before: list[str], after: list[str]) -> Iterator[str]:
    """Give the labels of an enum: those now without those that went, and those that came each before its neighbour."""
    kept = [label for label in now if label in after or label not in before]
    in_order = [label for label in before if label in after] == [label for label in after if label in before]
    if not in_order:
        yield from (*after, *(label for label in kept if label not in after))
        return
    result = kept
    for position in reversed(range(len(after))):
        label = after[position]
        if label not in result and label not in before:
            following = next((item for item in after[position + 1 :] if item in result), None)
            result.insert(result.index(following) if following else len(result), label)
    yield from result


def _schema(name: str) -> str:
    """Return the schema that a relation is in, as a relation; the schema itself for one."""
    return name if name.startswith(SCHEMA) else SCHEMA + name.partition(".")[0].rpartition(" ")[2]
