"""What is kept of sources, chain and facts comes to the same as the long way, whatever changes, and may be deleted."""

from __future__ import annotations

import gc
import random
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table

from monarch_dagster.errors import MonarchError
from monarch_dagster.memo import Memo
from monarch_dagster.memory import uncollected
from monarch_dagster.migrations import coverage as coverage_module
from monarch_dagster.migrations.coverage import coverage
from monarch_dagster.migrations.generate import Proposal, propose
from monarch_dagster.schema import desired as desired_module
from monarch_dagster.schema import provider as provider_module
from monarch_dagster_tests.migrations.support import write_revision
from monarch_dagster_tests.support import SMALL_MODELS, Project, account

TYPES: tuple[Mapping[str, Any], ...] = (
    {"type": "string", "length": 40},
    {"type": "string", "length": 80, "externalId": True, "unique": True},
    {"type": "reference", "length": 18, "referenceTo": ["Thing_1__c"], "choices": {"foreign_key": True}},
    {"type": "double", "precision": 18, "scale": 2},
    {"type": "datetime"},
    {"type": "textarea", "length": 32000},
    {"type": "unheard_of"},
)
VIEW = """
from sqlalchemy import CreateView
CreateView(select(Note.id), "noted", metadata=Base.metadata, schema="landing")
"""
TRIGGER = """
op.execute(\"\"\"
    CREATE FUNCTION landing.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER touched BEFORE UPDATE ON landing.note FOR EACH ROW EXECUTE FUNCTION landing.touch();
\"\"\")
"""


@pytest.fixture
def kept(project: Project) -> Project:
    """A project with memos of its own."""
    memo = Memo(project.root / ".monarch" / "memo")
    project.sources = replace(project.sources, memo=memo)
    project.shadows = replace(project.shadows, memo=memo)
    return project


def told(proposal: Proposal | MonarchError) -> Any:
    """Return all of a proposal, or of a refusal, but for times."""
    if isinstance(proposal, MonarchError):
        return proposal.message, proposal.remedy
    revisions = [
        (item.revision, item.down_revision, item.text, item.upgrade_sql, item.downgrade_sql, item.hazards)
        for item in proposal.revisions
    ]
    found = proposal.changes, proposal.warnings, proposal.carried, proposal.columns, proposal.id, proposal.head_before
    return revisions, *found


def dry(project: Project, memo: Memo) -> Any:
    sources, shadows = replace(project.sources, memo=memo), replace(project.shadows, memo=memo)
    try:
        return told(propose(sources, shadows, project.prover.proofs, dry_run=True))
    except MonarchError as error:
        return told(error)


def compare(project: Project) -> None:
    """Generate and ask for coverage, the long way and by what is kept, cold and warm."""
    expected = dry(project, Memo())
    assert dry(project, project.sources.memo) == expected
    assert dry(project, project.sources.memo) == expected
    covered = coverage(replace(project.sources, memo=Memo()), replace(project.shadows, memo=Memo()))
    assert coverage(project.sources, project.shadows) == covered
    assert coverage(project.sources, project.shadows) == covered


def walk(project: Project, seed: int, steps: int) -> None:
    """Change the org at random, step by step, and compare each time."""
    rng = random.Random(seed)
    objects: dict[str, dict[str, Any]] = {f"Thing_{number}__c": {} for number in range(1, 4)}
    for _ in range(steps):
        for _ in range(rng.randint(0, 3)):
            fields = objects.setdefault(f"Thing_{rng.randint(1, 5)}__c", {})
            name = f"Field_{rng.randint(1, 4)}__c"
            if rng.random() < 0.2:
                fields.pop(name, None)
            else:
                fields[name] = rng.choice(TYPES)
        project.write_meta(
            {
                name: {"fields": [{"name": "Id", "type": "id"}, *({"name": key, **fields[key]} for key in fields)]}
                for name, fields in objects.items()
            }
        )
        compare(project)
        project.generate()


def test_a_walk_of_changes_is_proposed_as_the_long_way_proposes_it(kept: Project) -> None:
    walk(kept, 1, 4)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 10))
def test_long_walks_of_changes_are_proposed_as_the_long_way_proposes_them(kept: Project, seed: int) -> None:
    walk(kept, seed, 12)


def test_models_views_and_what_was_made_by_hand_are_compared_alike(kept: Project) -> None:
    kept.write_meta(account())
    compare(kept)
    kept.generate()
    compare(kept)
    kept.write_models(SMALL_MODELS + VIEW)
    compare(kept)
    head = kept.generate().head
    write_revision(
        kept.versions, "byhand000000", head, up=TRIGGER, back="op.execute('DROP FUNCTION landing.touch CASCADE')"
    )
    compare(kept)
    assert coverage(kept.sources, kept.shadows).carried
    kept.sources.object_meta_path.unlink()
    assert "There is no" in dry(kept, kept.sources.memo)[0]
    assert dry(kept, kept.sources.memo) == dry(kept, Memo())


def test_a_comment_at_the_end_of_a_statement_takes_nothing_of_the_next(kept: Project) -> None:
    views = "".join(
        f'CreateView(select(Note.id).where(text("note.id > 0 -- only some")), "{name}", metadata=Base.metadata, '
        'schema="landing")\n'
        for name in ("a", "b")
    )
    kept.write_models(SMALL_MODELS + "\nfrom sqlalchemy import CreateView\n" + views)
    kept.generate()
    kept.apply()
    assert kept.facts().relations.keys() >= {"view landing.a", "view landing.b"}


def test_a_view_that_names_the_providers_schema_in_capitals_is_built_on_its_tables(kept: Project) -> None:
    kept.write_meta(account())
    kept.generate()
    kept.write_models(
        SMALL_MODELS
        + """
from sqlalchemy import CreateView, literal_column
CreateView(select(literal_column("id").label("id")).select_from(text("SALESFORCE.Account")), "a",
           metadata=Base.metadata, schema="landing")
"""
    )
    compare(kept)
    assert [change.relation for change in kept.generate().changes] == ["view landing.a"]


def test_what_shadow_sql_makes_beforehand_is_part_of_the_key(kept: Project) -> None:
    kept.generate()
    compare(kept)
    (kept.sources.schema_dir / "shadow.sql").write_text("CREATE SCHEMA IF NOT EXISTS ext;")
    compare(kept)


def coded(name: str) -> Mapping[str, Any]:
    return {"fields": [{"name": "Id", "type": "id"}, {"name": name, "type": "int", "digits": 9, "externalId": True}]}


def test_a_name_that_two_want_is_given_as_if_all_were_declared_together(kept: Project) -> None:
    objects = {"T_a": coded("b"), "U": coded("c")}
    kept.write_meta(objects)
    compare(kept)
    kept.generate()
    # Both want ix_t_a_b, and the first one by name gets it.
    kept.write_meta({"T": coded("a_b"), **objects})
    compare(kept)
    kept.generate()
    kept.write_meta({"T": coded("a_c"), **objects})
    compare(kept)


def test_what_others_refer_to_is_declared_with_them(kept: Project) -> None:
    kept.write_models(
        SMALL_MODELS + '    account = mapped_column(ForeignKey("salesforce.account.id"), type_=String(18))\n'
    )
    kept.write_meta(account() | {"Other": coded("c")})
    compare(kept)
    kept.generate()
    kept.write_meta(account() | {"Other": coded("d")})
    compare(kept)


def test_of_an_org_only_what_changed_is_declared_and_built(kept: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = {f"Thing_{number}__c": coded("x") for number in range(9)}
    kept.write_meta(objects)
    kept.generate()
    kept.write_meta({**objects, "Thing_4__c": coded("y")})
    declared = []
    columns = provider_module._columns
    monkeypatch.setattr(
        provider_module, "_columns", lambda entry, *more: declared.append(entry.object) or columns(entry, *more)
    )
    changes = kept.generate().changes
    assert declared == ["Thing_4__c"]
    assert {change.relation for change in changes} == {"table salesforce.thing_4__c"}


def test_an_unchanged_project_is_not_built_again(kept: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.generate()
    kept.generate()
    monkeypatch.setattr(coverage_module, "build_desired", None)
    assert kept.generate().revisions == ()
    assert coverage(kept.sources, kept.shadows).covered


def test_memos_may_be_deleted_at_any_time(kept: Project) -> None:
    kept.generate()
    kept.generate()
    memo = kept.sources.memo.folder
    assert memo is not None
    for path in memo.iterdir():
        path.write_bytes(path.read_bytes()[:-7])
    assert kept.generate().revisions == ()
    shutil.rmtree(memo)
    assert kept.generate().revisions == ()


def test_what_changes_while_it_is_read_is_not_kept(kept: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.write_meta(account())
    kept.generate()
    read = desired_module.read_object_meta

    def changing(path: Path) -> Any:
        found = read(path)
        kept.write_meta(account(Added__c={"type": "boolean"}))
        return found

    kept.write_meta(account(Other__c={"type": "boolean"}))
    with monkeypatch.context() as patch:
        patch.setattr(desired_module, "read_object_meta", changing)
        assert [change.aspect for change in kept.generate().changes] == ["column other__c"]
    assert "column added__c" in [change.aspect for change in kept.generate().changes]


def test_the_long_way_leaves_no_tables_for_the_collector(project: Project) -> None:
    project.write_meta(account())
    project.generate()
    gc.collect()
    sources, shadows = replace(project.sources, memo=Memo()), replace(project.shadows, memo=Memo())
    with uncollected():
        assert propose(sources, shadows, project.prover.proofs).revisions == ()
        assert coverage(sources, shadows).covered
        left = [item for item in gc.get_objects() if isinstance(item, Table) and "schema" in vars(item)]
    assert [table.key for table in left if table.schema == project.sources.provider_schema] == []
