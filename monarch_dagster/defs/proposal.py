"""What the UI and the commands show of a proposal, so that a reviewer can act on it. Pure: as in `metadata`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import dagster as dg

from monarch_dagster.defs.metadata import REVISIONS, SHOWN_ROWS, Metadata, count, sql, table
from monarch_dagster.migrations.revisions import BASE
from monarch_dagster.postgres.quoting import storable

if TYPE_CHECKING:
    from monarch_dagster.migrations.changes import ProviderColumn
    from monarch_dagster.migrations.generate import Proposal, ProposedRevision

# Not dagster/code_references: the asset's pages read that of definitions only, and hide it on a materialization.
OPEN_IN_EDITOR = "open_in_editor"
COLUMN_SCHEMA = "dagster/column_schema"
LONGEST_LABEL = 200


def describe_proposal(proposal: Proposal, *, dry_run: bool) -> Metadata:
    """Describe a proposal: what it is, its statements both ways, what it may cost and what shows that it works."""
    found = proposal.revisions
    metadata: Metadata = {
        "summary": _with_superseded(_summary(proposal, dry_run), proposal, dry_run),
        "head_before": proposal.head_before or BASE,
        "head": (proposal.head_before if dry_run else proposal.head) or BASE,
        REVISIONS: [item.revision for item in found],
        "warnings": table([{"warning": text} for text in proposal.warnings]),
        "carried": table([{"carried": name} for name in proposal.carried]),
        "superseded": table([{"revision": item.revision, "file": item.path.name} for item in proposal.superseded]),
        "proposed_revisions": len(found),
        "relations_changed": _relations(proposal),
        "hazard_count": sum(len(item.hazards) for item in found),
        "proof_seconds": round(proposal.proof_seconds, 2),
        "seconds": round(proposal.seconds, 2),
    }
    if not found:
        return metadata
    metadata |= {
        "proposal": proposal.id,
        "proof": f"Proved {_proof(proposal)}",
        "path": dg.MetadataValue.path(str(found[0].path)),
        "changes": table(_changes(proposal)),
        "upgrade_sql": sql("\n".join(item.upgrade_sql for item in found)),
        # The last one is taken back first.
        "downgrade_sql": sql("\n".join(item.downgrade_sql for item in reversed(found))),
        "hazards": table(_hazards(found)),
    }
    if not dry_run:
        metadata[OPEN_IN_EDITOR] = _links(found)
    if proposal.columns:
        metadata[COLUMN_SCHEMA] = _column_schema(proposal.columns)
    return metadata


def _summary(proposal: Proposal, dry_run: bool) -> str:
    if not proposal.revisions:
        head = proposal.head_before or BASE
        return f"Nothing to generate: the revisions come to what the schema files ask for (head {head})."
    verb = "would be proposed (dry run, nothing was written)" if dry_run else "proposed"
    lines = [f"{item.revision} {verb}: {item.path}" for item in proposal.revisions]
    return "\n".join([*lines, f"{count(_relations(proposal), 'relation')} changed; proved {_proof(proposal)}"])


def _proof(proposal: Proposal) -> str:
    seconds = f"{proposal.proof_seconds:.1f} s"
    return f"up, down and up again on a shadow (PostgreSQL {proposal.postgresql}) in {seconds}."


def _with_superseded(summary: str, proposal: Proposal, dry_run: bool) -> str:
    if not proposal.superseded:
        return summary
    verb = "would be deleted" if dry_run else "deleted"
    names = ", ".join(item.path.name for item in proposal.superseded)
    return f"{summary}\nSuperseded, as nobody has edited, committed or applied it, and {verb}: {names}"


def _relations(proposal: Proposal) -> int:
    return len({change.relation for change in proposal.changes})


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


def _hazards(revisions: Iterable[ProposedRevision]) -> list[dict[str, str]]:
    # Loaded here: the code location does without the domain until something runs.
    from monarch_dagster.migrations.hazards import gravity
    from monarch_dagster.migrations.sizes import hazard_row

    rows = [hazard_row(item.revision, hazard) for item in revisions for hazard in item.hazards]
    return sorted(rows, key=lambda row: gravity(row["kind"]))


def _links(revisions: Iterable[ProposedRevision]) -> dg.MetadataValue[Any]:
    with warnings.catch_warnings():
        # Dagster has no other way to have a file opened in the reader's editor.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.CodeReferencesMetadataValue(
            code_references=[
                dg.LocalFileCodeReference(file_path=str(item.path), line_number=_first_line(item.text))
                for item in revisions
            ]
        )


def _first_line(text: str) -> int:
    """Return the line in which the revision's `upgrade` begins."""
    return text[: text.find("def upgrade(")].count("\n") + 1


def _column_schema(columns: tuple[ProviderColumn, ...]) -> dg.MetadataValue[Any]:
    shown = [
        dg.TableColumn(
            f"{item.table.partition('.')[2]}.{item.name}",
            item.type,
            description=_described(item),
            constraints=dg.TableColumnConstraints(nullable=item.nullable),
            tags={"change": item.change} if item.change else None,
        )
        for item in columns[:SHOWN_ROWS]
    ]
    if more := len(columns) - len(shown):
        shown.append(dg.TableColumn(f"… and {more} more", ""))
    return dg.MetadataValue.table_schema(dg.TableSchema(shown))


def _described(column: ProviderColumn) -> str:
    label = storable(column.label)[:LONGEST_LABEL]
    return f"{label} ({column.field})" if label else column.field
