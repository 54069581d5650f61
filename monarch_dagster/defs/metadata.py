"""What the UI and the commands show of each result. Pure: a domain result in, Dagster metadata out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg

from monarch_dagster.migrations.revisions import BASE, Hazard, Revision

if TYPE_CHECKING:
    from pathlib import Path

    from monarch_dagster.migrations.adopt import Adoption
    from monarch_dagster.migrations.apply import ApplyResult
    from monarch_dagster.migrations.generate import Proposal
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
    told = [_count(new_objects, "object", "added")] if new_objects else []
    told += [_count(new_fields, "field", "added")] if new_fields else []
    told += [f"{number:,} {WORDS.get(kind, kind)}" for kind, number in found.items() if kind != "added"]
    reasons = [f"{count} {reason}" for reason, count in Counter(result.left_out.values()).most_common(LISTED_REASONS)]
    if result.unaffected:
        told.append(f"{result.unaffected:,} in picklists or the like only")
    lines = [
        f"{_count(result.described, 'object', 'described')} in {_count(result.calls, 'call')}: "
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
        "unchanged": result.unchanged,
        "unaffected": result.unaffected,
        "objects_added": new_objects,
        "fields_added": new_fields,
    } | {f"changed_{kind}": found.get(kind, 0) for kind in KINDS if kind != "added"}


def describe_proposal(proposal: Proposal, *, dry_run: bool) -> Metadata:
    """Describe a proposal so that a reviewer can act on it."""
    head = proposal.head_before or BASE
    if not proposal.revisions:
        summary = f"Nothing to generate: the revisions come to what the schema files ask for (head {head})."
        return {
            "summary": _with_superseded(summary, proposal, dry_run),
            "head": head,
            REVISIONS: [],
            "superseded": _superseded(proposal),
            "warnings": _warnings(proposal),
            "carried": _carried(proposal),
        }
    verb = "would be proposed (dry run, nothing was written)" if dry_run else "proposed"
    lines = "\n".join(f"{item.revision} {verb}: {item.path}" for item in proposal.revisions)
    relations = len({change.relation for change in proposal.changes})
    summary = f"{lines}\n{_count(relations, 'relation')} changed; proved up, down and up again on a shadow."
    return {
        "summary": _with_superseded(summary, proposal, dry_run),
        "head": head if dry_run else proposal.head,
        "head_before": head,
        "proposal": proposal.id,
        REVISIONS: [item.revision for item in proposal.revisions],
        "path": dg.MetadataValue.path(str(proposal.revisions[0].path)),
        "changes": table(_changes(proposal)),
        "upgrade_sql": _sql("\n".join(item.upgrade_sql for item in proposal.revisions)),
        "hazards": table(
            _by_gravity(_row(item.revision, hazard) for item in proposal.revisions for hazard in item.hazards)
        ),
        "warnings": _warnings(proposal),
        "carried": _carried(proposal),
        "superseded": _superseded(proposal),
        "relations_changed": relations,
    }


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
    pending = f", {_count(len(result.pending), 'revision')} pending" if result.pending else ""
    if dry_run:
        summary = f"Dry run: nothing was run. The target is at {before}{pending}."
    elif result.applied:
        verb = "applied" if result.applied[0].direction == "upgrade" else "reverted"
        summary = f"{_count(len(result.applied), 'revision', verb)}: {before} → {after}{pending}."
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
        "hazards": _hazards_on_target(result),
        "revisions_run": len(result.applied),
        "seconds": round(sum(item.seconds for item in result.applied), 2),
    }
    if registry is not None:
        metadata["registry"] = registry.told
        metadata["objects_registered"], metadata["fields_registered"] = registry.objects, registry.fields
    if result.conversions:
        metadata["conversions"] = table([{"revision": item.revision, **item.to_json()} for item in result.conversions])
    if result.sql:
        metadata["sql"] = _sql(result.sql)
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
    return [] if value == NO_ROWS else value.value


def _count(number: int, noun: str, verb: str = "") -> str:
    """Return such as "1 object added", "2 objects added" and "2 missing"."""
    plural = "s" if number != 1 and noun in ("object", "field", "relation", "revision", "call") else ""
    return f"{number:,} {noun}{plural} {verb}".rstrip()


def _told(change: Change) -> dict[str, str]:
    return {"name": change.name, "before": change.before, "after": change.after, "note": change.note}


def _changes(proposal: Proposal) -> list[dict[str, str]]:
    # Loaded here: the code location does without the domain until something runs.
    from monarch_dagster.migrations.changes import change_kind

    return [
        {
            "relation": item.relation,
            "change": change_kind(item),
            "what": item.aspect,
            "from": item.found[:200],
            "to": item.expected[:200],
        }
        for item in proposal.changes
    ]


def _with_superseded(summary: str, proposal: Proposal, dry_run: bool) -> str:
    if not proposal.superseded:
        return summary
    verb = "would be deleted" if dry_run else "deleted"
    names = ", ".join(item.path.name for item in proposal.superseded)
    return f"{summary}\nSuperseded, as nobody has edited, committed or applied it, and {verb}: {names}"


def _superseded(proposal: Proposal) -> dg.MetadataValue[Any]:
    return table([{"revision": item.revision, "file": item.path.name} for item in proposal.superseded])


def _warnings(proposal: Proposal) -> dg.MetadataValue[Any]:
    return table([{"warning": text} for text in proposal.warnings])


def _carried(proposal: Proposal) -> dg.MetadataValue[Any]:
    return table([{"carried": name} for name in proposal.carried])


def _row(revision: str, hazard: Hazard) -> dict[str, Any]:
    return {"revision": revision, "kind": hazard.kind, "object": hazard.object, "detail": hazard.detail}


def _hazards_on_target(result: ApplyResult) -> dg.MetadataValue[Any]:
    # Loaded here: the code location does without the domain until something runs.
    from monarch_dagster.migrations.sizes import hazard_rows

    return table(hazard_rows(result.pending, result.sizes))


def _by_gravity(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    # Loaded here: the code location does without the domain until something runs.
    from monarch_dagster.migrations.hazards import gravity

    return sorted(rows, key=lambda row: gravity(row["kind"]))


def table(rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue[Any]:
    shown = [dg.TableRecord(dict(row)) for row in rows[:SHOWN_ROWS]]
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


def _sql(text: str) -> dg.MetadataValue[Any]:
    shown = text if len(text) <= SHOWN_SQL else f"{text[:SHOWN_SQL]}\n-- … {len(text) - SHOWN_SQL:,} characters more"
    return dg.MetadataValue.md(f"```sql\n{shown.strip()}\n```")
