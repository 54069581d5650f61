"""What the UI and the commands show of a fetch, an apply and an adoption. Pure: a domain result in, metadata out.

Holds the kinds of values too. What is shown of a proposal, which has most to read, belongs in `proposal`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg

from monarch_dagster.migrations.revisions import BASE, Revision
from monarch_dagster.postgres.quoting import storable

if TYPE_CHECKING:
    from pathlib import Path

    from monarch_dagster.migrations.adopt import Adoption
    from monarch_dagster.migrations.apply import ApplyResult
    from monarch_dagster.migrations.git_state import GitState
    from monarch_dagster.salesforce.changes import Change
    from monarch_dagster.salesforce.fetch import FetchResult
    from monarch_dagster.salesforce.object_meta import ObjectMeta

Metadata = dict[str, Any]
REVISIONS = "revisions"
NO_ROWS = dg.MetadataValue.text("none")
SHOWN_ROWS = 200
# Kinds of changes whose names want more than themselves in a sentence.
WORDS = {"attributes": "changed in other attributes", "label": "relabelled"}
LISTED_REASONS = 5
SHOWN_SQL = 60_000


def describe_object_meta(meta: ObjectMeta, path: Path) -> Metadata:
    """Describe the file as it stands."""
    from monarch_dagster.salesforce.namespaces import count_namespaces
    from monarch_dagster.salesforce.renamed import declared

    missing = list(declared(meta).missing())
    return {
        "path": dg.MetadataValue.path(str(path)),
        "objects": len(meta.objects),
        "fields": meta.field_count,
        "missing": len(missing),
        "namespaces": table([asdict(item) for item in count_namespaces(meta)]),
        "api_version": meta.api_version or "not pinned yet",
        "org_id": meta.org_id or "unknown",
    }


def describe_fetch(result: FetchResult) -> Metadata:
    """Describe what a fetch changed: what wants a person's eye first, and each class as a number to plot."""
    from monarch_dagster.salesforce.changes import KINDS, counts

    changes = result.merge.changes
    found = counts(changes)
    new_objects = sum(item.kind == "added" and not item.field for item in changes)
    new_fields = found.get("added", 0) - new_objects
    told = [count(new_objects, "object", "added")] if new_objects else []
    told += [count(new_fields, "field", "added")] if new_fields else []
    told += [f"{number:,} {WORDS.get(kind, kind)}" for kind, number in found.items() if kind != "added"]
    reasons = [f"{count} {reason}" for reason, count in Counter(result.left_out.values()).most_common(LISTED_REASONS)]
    if result.unaffected:
        told.append(f"{result.unaffected:,} in picklists or the like only")
    lines = [
        f"{count(result.described, 'object', 'described')} in {count(result.calls, 'call')}: "
        f"{', '.join(told) or 'nothing changed'}."
    ]
    if result.namespaces:
        lines.append(f"Nothing is shown any more of {', '.join(result.namespaces)}: deinstalled, or not permitted?")
    if result.left_out:
        lines.append(f"{len(result.left_out)} left out: {', '.join(reasons)}.")
    return {
        "summary": "\n".join(lines),
        "changes": table([{"change": item.kind} | _told(item) for item in changes]),
        "left_out": table([{"object": name, "reason": reason} for name, reason in sorted(result.left_out.items())]),
        "warnings": table([{"warning": str(item)} for item in result.tight]),
        "described": result.described,
        "calls": result.calls,
        "seconds": round(result.seconds, 2),
        "unchanged": result.unchanged,
        "unaffected": result.unaffected,
        "objects_added": new_objects,
        "fields_added": new_fields,
    } | {f"changed_{kind}": found.get(kind, 0) for kind in KINDS if kind != "added"}


def describe_git(found: GitState) -> Metadata:
    """Describe what was not committed, and what other branches had, when a run began to generate."""
    from monarch_dagster.migrations.git_state import shown

    return {
        "uncommitted": table([asdict(item) | {"path": shown(item.path)} for item in found.uncommitted]),
        "lacking": table([asdict(item) | {"file": shown(item.file)} for item in found.lacking]),
    }


def describe_apply(result: ApplyResult, *, dry_run: bool, held_back: Sequence[Revision] = ()) -> Metadata:
    """Describe what ran on the target, and what did not."""
    before, after = result.before or BASE, result.after or BASE
    pending = f", {count(len(result.pending), 'revision')} pending" if result.pending else ""
    if dry_run:
        summary = f"Dry run: nothing was run. The target is at {before}{pending}."
    elif result.applied:
        verb = "applied" if result.applied[0].direction == "upgrade" else "reverted"
        summary = f"{count(len(result.applied), 'revision', verb)}: {before} → {after}{pending}."
    else:
        summary = f"Nothing to run: the target is at {after}{pending}."
    if held_back:
        names = ", ".join(str(item.path) for item in held_back)
        summary += f"\nWritten in this run and not applied; review, then run migrations: {names}"
    if result.unproved:
        summary += f"\nApplied without a proof, as named: {', '.join(result.unproved)}"
    registry = result.registry
    if registry is not None and (registry.failed or registry.changed or registry.removed):
        summary += f"\nRegistry of objects and fields: {registry.told}"
    metadata: Metadata = {
        "summary": summary,
        "revision_before": before,
        "revision_after": after,
        "applied": table(
            [
                {"revision": item.revision, "direction": item.direction, "seconds": round(item.seconds, 2)}
                for item in result.applied
            ]
        ),
        "pending": table([{"revision": item.revision, "file": item.path.name} for item in result.pending]),
        "pending_revisions": len(result.pending),
        "hazards": _hazards_on_target(result),
        "revisions_run": len(result.applied),
        "seconds": round(sum((item.seconds for item in result.applied), 0.0), 2),
    }
    if registry is not None:
        metadata["registry"] = registry.told
        metadata["objects_registered"], metadata["fields_registered"] = registry.objects, registry.fields
    if result.conversions:
        metadata["conversions"] = table([{"revision": item.revision, **item.to_json()} for item in result.conversions])
    if result.sql:
        metadata["sql"] = sql(result.sql)
    return metadata


def describe_adoption(result: Adoption) -> Metadata:
    """Describe which revision a target equals, and whether that was recorded."""
    before, after = result.before or BASE, result.after or BASE
    if result.written:
        summary = f"Adopted: the schema equals {after}; version and ledger say so now (before: {before})."
    elif before == after:
        summary = f"The schema equals {after}, and that is what the version says."
    else:
        summary = f"The schema equals {after}; the version says {before}. Nothing was recorded (dry run)."
    return {
        "summary": summary,
        "revision_before": before,
        "revision_after": after,
        "foreign": table([{"relation": name} for name in result.foreign]),
    }


def plain(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, Any]:
    """Return metadata as plain JSON values, for `--json`; a table is a list of objects."""
    return {name: _plain_value(value) for name, value in metadata.items()}


def _plain_value(value: dg.MetadataValue[Any]) -> Any:
    if isinstance(value, dg.TableMetadataValue):
        return [dict(record.data) for record in value.records]
    if isinstance(value, dg.TableSchemaMetadataValue):
        return [{"name": item.name, "type": item.type} for item in value.schema.columns]
    if isinstance(value, dg.CodeReferencesMetadataValue):
        return [item.source for item in value.code_references]
    return [] if value == NO_ROWS else value.value


def count(number: int, noun: str, verb: str = "") -> str:
    """Return such as "1 object added", "2 objects added" and "2 missing"."""
    plural = "s" if number != 1 and noun in ("object", "field", "relation", "revision", "call") else ""
    return f"{number:,} {noun}{plural} {verb}".rstrip()


def _told(change: Change) -> dict[str, str]:
    return {"name": change.name, "before": change.before, "after": change.after, "note": change.note}


def _hazards_on_target(result: ApplyResult) -> dg.MetadataValue[Any]:
    # Loaded here: the code location does without the domain until something runs.
    from monarch_dagster.migrations.sizes import hazard_rows

    return table(hazard_rows(result.pending, result.sizes))


def table(rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue[Any]:
    """Return rows as a table, "none" for no row; of more than `SHOWN_ROWS` the first, and how many there are more."""
    shown = [dg.TableRecord(_storable(row)) for row in rows[:SHOWN_ROWS]]
    if not shown:
        return NO_ROWS
    if len(rows) > SHOWN_ROWS:
        first = next(iter(rows[0]))
        more = f"… and {len(rows) - SHOWN_ROWS} more"
        shown.append(dg.TableRecord({name: more if name == first else "" for name in rows[0]}))
        columns = [dg.TableColumn(name, "string") for name in rows[0]]
        shown = [dg.TableRecord({name: str(value) for name, value in record.data.items()}) for record in shown]
        return dg.MetadataValue.table(shown, schema=dg.TableSchema(columns))
    return dg.MetadataValue.table(shown)


def sql(text: str) -> dg.MetadataValue[Any]:
    """Return SQL as code, cut where it is longer than anybody reads in a browser."""
    shown = text if len(text) <= SHOWN_SQL else f"{text[:SHOWN_SQL]}\n-- … {len(text) - SHOWN_SQL:,} characters more"
    return dg.MetadataValue.md(f"```sql\n{shown.strip()}\n```")


def _storable(row: Mapping[str, Any]) -> dict[str, Any]:
    # Labels come from the org: half a character would keep the whole page from being sent.
    return {name: storable(value) if isinstance(value, str) else value for name, value in row.items()}
