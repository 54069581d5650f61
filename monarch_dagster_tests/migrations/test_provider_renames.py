"""Renames of the provider's objects and fields: said in object_meta.json, one RENAME each, never guessed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.generate import Proposal
from monarch_dagster.migrations.superseding import OpenProposals
from monarch_dagster_tests.support import Project, squeeze

STRING = {"type": "string", "length": 40}
EXTERNAL = {**STRING, "externalId": True, "unique": True}
CHANGED = {"name": "SystemModstamp", "type": "datetime"}
ROWS = 10_000
Fields = tuple[dict[str, Any], ...]


def entry(*fields: dict[str, Any], was: str = "", **keys: Any) -> dict[str, Any]:
    """Return an object of the file with an `Id` and the given fields."""
    described = [{"name": "Id", "type": "id", "length": 18}, *fields]
    return {"fields": described, **({"choices": {"renamed_from": was}} if was else {}), **keys}


def field(name: str, *, was: str = "", **keys: Any) -> dict[str, Any]:
    """Return a text field of an object."""
    return {"name": name, **STRING, **keys, **({"choices": {"renamed_from": was}} if was else {})}


def statements(proposal: Proposal) -> list[str]:
    """Return the DDL of an upgrade, without Alembic's own."""
    sql = "".join(item.upgrade_sql for item in proposal.revisions)
    found = (squeeze(part) for part in re.sub(r"--.*", "", sql).split(";"))
    return [part.strip() for part in found if re.match(r" ?(ALTER|DROP|CREATE (TABLE|INDEX|UNIQUE))", part)]


def chain(project: Project, **objects: dict[str, Any]) -> None:
    """Have a chain that comes to these objects."""
    project.write_meta(objects)
    project.generate()


def start(project: Project, **objects: dict[str, Any]) -> None:
    """Have a chain that comes to these objects, and apply it."""
    chain(project, **objects)
    project.apply()


def refusal(project: Project, **objects: dict[str, Any]) -> MonarchError:
    """Return how generating from these objects is refused; no file may be written."""
    project.write_meta(objects)
    files = sorted(project.versions.iterdir())
    with pytest.raises(MonarchError) as caught:
        project.generate()
    assert sorted(project.versions.iterdir()) == files
    return caught.value


def columns(project: Project, table: str) -> set[str]:
    """Return the columns of a table of the target."""
    aspects = project.facts().relations[f"table salesforce.{table}"]
    return {name.removeprefix("column ") for name in aspects if name.startswith("column ")}


def test_a_field_is_renamed_with_its_rows_its_index_and_nothing_else(project: Project) -> None:
    start(project, Foo__c=entry({"name": "Bar__c", **EXTERNAL}, CHANGED))
    project.execute(f"INSERT INTO salesforce.foo__c (id, bar__c) SELECT n, n FROM generate_series(1, {ROWS}) n")
    before = project.facts()
    old = {"name": "Bar__c", **EXTERNAL, "missing": True}
    new = {"name": "Baz__c", **EXTERNAL, "choices": {"renamed_from": "Bar__c"}}
    project.write_meta({"Foo__c": entry(old, new, CHANGED)})
    proposal = project.generate()
    assert statements(proposal) == [
        "ALTER TABLE salesforce.foo__c RENAME bar__c TO baz__c",
        "ALTER INDEX salesforce.uq_foo__c_bar__c RENAME TO uq_foo__c_baz__c",
    ]
    assert proposal.warnings == ()
    project.apply()
    assert project.execute("SELECT count(*), sum(baz__c::int) FROM salesforce.foo__c") == [
        (ROWS, ROWS * (ROWS + 1) / 2)
    ]
    assert project.generate().revisions == ()
    project.revert(str(proposal.head_before))
    assert project.facts() == before
    assert project.execute("SELECT count(bar__c) FROM salesforce.foo__c") == [(ROWS,)]


def test_an_object_is_renamed_with_its_rows_and_all_names_follow(project: Project) -> None:
    lookup = {"name": "Foo__c", "type": "reference", "length": 18, "choices": {"foreign_key": True}}
    fields = (field("Gone__c", missing=True), {"name": "Bar__c", **EXTERNAL}, CHANGED)
    start(project, Foo__c=entry(*fields), Kid__c=entry({**lookup, "referenceTo": ["Foo__c"]}))
    project.execute(f"INSERT INTO salesforce.foo__c SELECT n, n FROM generate_series(1, {ROWS}) n")
    project.execute("UPDATE salesforce.foo__c SET gone__c = 'kept'; INSERT INTO salesforce.kid__c VALUES ('k', '7')")
    before = project.facts()
    project.write_meta(
        {
            "Foo__c": entry(*fields, missing=True),
            "Foo2__c": entry({"name": "Bar__c", **EXTERNAL}, CHANGED, was="Foo__c"),
            "Kid__c": entry({**lookup, "referenceTo": ["Foo2__c"]}),
        }
    )
    proposal = project.generate()
    assert statements(proposal) == [
        "ALTER TABLE salesforce.foo__c RENAME TO foo2__c",
        "ALTER TABLE salesforce.foo2__c RENAME CONSTRAINT pk_foo__c TO pk_foo2__c",
        "ALTER INDEX salesforce.ix_foo__c_systemmodstamp RENAME TO ix_foo2__c_systemmodstamp",
        "ALTER INDEX salesforce.uq_foo__c_bar__c RENAME TO uq_foo2__c_bar__c",
        "ALTER TABLE salesforce.kid__c RENAME CONSTRAINT fk_kid__c_foo__c_foo__c TO fk_kid__c_foo__c_foo2__c",
    ]
    project.apply()
    kept = "SELECT count(*), sum(bar__c::int), min(gone__c) FROM salesforce.foo2__c"
    assert project.execute(kept) == [(ROWS, ROWS * (ROWS + 1) / 2, "kept")]
    assert project.generate().revisions == ()
    project.revert(str(proposal.head_before))
    assert project.facts() == before


def test_a_field_of_a_renamed_object_is_renamed_with_it(project: Project) -> None:
    start(project, Foo__c=entry(field("Bar__c")))
    project.execute("INSERT INTO salesforce.foo__c VALUES ('1', 'x')")
    new = entry(field("Baz__c", was="Bar__c"), was="Foo__c")
    project.write_meta({"Foo__c": entry(field("Bar__c"), missing=True), "Foo2__c": new})
    project.generate()
    project.apply()
    assert project.execute("SELECT baz__c FROM salesforce.foo2__c") == [("x",)]


def test_a_likely_rename_of_a_field_is_suggested_with_the_line_that_makes_it(project: Project) -> None:
    chain(project, Foo__c=entry(field("Bar__c"), field("Size__c", length=9)))
    kept = {"column_type": "text", "index": False}
    fields = (field("Bar__c", missing=True, choices=kept), field("Baz__c"), field("Size__c", length=9))
    project.write_meta({"Foo__c": entry(*fields)})
    guessed = project.generate(dry_run=True)
    assert [part for part in statements(guessed) if "RENAME" in part or "DROP" in part] == []
    (told,) = guessed.warnings
    assert told.startswith("Foo__c.Baz__c is added and Foo__c.Bar__c missing, alike in type.")
    path = project.sources.object_meta_path
    assert str(path) in told
    line = told.splitlines()[1].strip()
    text = path.read_text()
    (old,) = re.findall(r'\{"name": "Baz__c".*\}', text)
    path.write_text(text.replace(old, line))
    proposal = project.generate()
    assert "ALTER TABLE salesforce.foo__c RENAME bar__c TO baz__c" in statements(proposal)
    # The choices of the old name are in that line too.
    assert "ALTER TABLE salesforce.foo__c ALTER COLUMN baz__c TYPE TEXT" in statements(proposal)


def test_a_likely_rename_of_an_object_is_suggested_with_the_line_that_makes_it(project: Project) -> None:
    chain(project, Foo__c=entry(field("Bar__c"), field("Old__c", missing=True)))
    gone = entry(field("Bar__c"), field("Old__c", missing=True), missing=True)
    project.write_meta({"Foo__c": gone, "Foo2__c": entry(field("Bar__c"))})
    (told,) = project.generate(dry_run=True).warnings
    assert told.startswith("Foo2__c is added and Foo__c missing, alike in type.")
    path = project.sources.object_meta_path
    start_of_entry = '"Foo2__c": {\n'
    assert start_of_entry in path.read_text()
    path.write_text(path.read_text().replace(start_of_entry, start_of_entry + told.splitlines()[1] + "\n"))
    assert statements(project.generate()) == [
        "ALTER TABLE salesforce.foo__c RENAME TO foo2__c",
        "ALTER TABLE salesforce.foo2__c RENAME CONSTRAINT pk_foo__c TO pk_foo2__c",
    ]


@pytest.mark.parametrize(
    "fields",
    [
        (field("Bar__c", missing=True), field("Baz__c", length=41)),
        (field("Bar__c", missing=True), field("Baz__c"), field("Qux__c")),
        (field("Bar__c"), field("Baz__c")),
        (field("Bar__c", missing=True), {"name": "Baz__c", "type": "email", "length": 40}),
    ],
    ids=["another length", "two candidates", "nothing missing", "another type"],
)
def test_what_does_not_look_like_a_rename_is_not_suggested(project: Project, fields: Fields) -> None:
    chain(project, Foo__c=entry(field("Bar__c")))
    project.write_meta({"Foo__c": entry(*fields)})
    assert project.generate().warnings == ()


def test_a_rename_that_is_said_with_a_narrower_type_converts_at_once_and_is_judged_on_the_rows(
    project: Project,
) -> None:
    start(project, Foo__c=entry(field("Bar__c")))
    project.execute("INSERT INTO salesforce.foo__c VALUES ('1', 'twenty-five characters !!'), ('2', 'short')")
    narrow = field("Baz__c", was="Bar__c", length=20)
    project.write_meta({"Foo__c": entry(field("Bar__c", missing=True), narrow)})
    proposal = project.generate()
    conversions = [item for item in proposal.revisions[0].hazards if item.kind == "conversion"]
    assert [str(item) for item in conversions] == [
        "conversion salesforce.foo__c.baz__c: narrowed from character varying(40) to character varying(20); values "
        "that do not fit stop it"
    ]
    with pytest.raises(MonarchError, match="1 of 2 values"):
        project.apply()
    assert columns(project, "foo__c") == {"id", "bar__c"}
    # The old type, written as a choice beside it, is what keeps it.
    for item in proposal.revisions:
        item.path.unlink()
    kept = {"choices": {"renamed_from": "Bar__c", "column_type": "varchar(40)"}}
    project.write_meta({"Foo__c": entry(field("Bar__c", missing=True), narrow | kept)})
    (only_named,) = project.generate().revisions
    assert [item for item in only_named.hazards if item.kind == "conversion"] == []
    project.apply()
    assert project.execute("SELECT max(length(baz__c)) FROM salesforce.foo__c") == [(25,)]


def test_the_fields_of_an_object_that_is_renamed_convert_at_once_too(project: Project) -> None:
    chain(project, Foo__c=entry(field("Bar__c")))
    old = entry(field("Bar__c"), missing=True)
    project.write_meta({"Foo__c": old, "Foo2__c": entry({"name": "Bar__c", "type": "int"}, was="Foo__c")})
    (proposed,) = project.generate().revisions
    told = [item.detail for item in proposed.hazards if item.kind == "conversion"]
    assert told == ["retyped from character varying(40) to integer; values that do not fit stop it"]


def test_an_entry_that_a_person_deleted_is_suggested_in_the_words_of_the_file(project: Project) -> None:
    chain(project, Foo__c=entry(field("Bar__c")))
    project.write_meta({"Foo__c": entry(field("Baz__c"))})
    (told,) = project.generate().warnings
    line = '{"name": "Baz__c", "type": "string", "length": 40, "choices": {"renamed_from": "bar__c"}}'
    assert f"at Foo__c.Baz__c, write the line\n  {line}\n" in told


def test_a_field_that_was_neither_is_refused_with_its_line(project: Project) -> None:
    chain(project, Foo__c=entry(field("Bar__c")))
    error = refusal(project, Foo__c=entry(field("Bar__c"), field("Baz__c", was="Bra__c")))
    assert error.message == "Foo__c.Baz__c says that it was Bra__c, but the chain has neither of the two."
    line = '{"name": "Baz__c", "type": "string", "length": 40, "choices": {"renamed_from": "Bra__c"}}'
    assert f"It stands in {project.sources.object_meta_path}, at Foo__c.Baz__c: {line}" in error.remedy


def test_an_object_that_was_neither_is_refused_but_in_a_chain_that_has_none(project: Project) -> None:
    project.write_meta({"Foo2__c": entry(was="Foo__c")})
    assert project.generate(dry_run=True).revisions
    chain(project, Kid__c=entry())
    error = refusal(project, Kid__c=entry(), Foo2__c=entry(was="Foo__c"))
    assert error.message == "Foo2__c says that it was Foo__c, but the chain has neither of the two."


def test_two_that_are_both_in_the_org_are_not_one(project: Project) -> None:
    chain(project, Foo__c=entry(field("Bar__c")))
    error = refusal(project, Foo__c=entry(field("Bar__c"), field("Baz__c", was="Bar__c")))
    assert error.message.startswith("Foo__c.Baz__c says that it was Bar__c, but Bar__c is there too, and not missing.")
    assert "delete the entry of Bar__c" in error.remedy
    error = refusal(project, Foo__c=entry(field("Bar__c")), Foo2__c=entry(was="Foo__c"))
    assert error.message.startswith("Foo2__c says that it was Foo__c, but Foo__c is there too, and not missing.")


def test_a_line_that_comes_after_the_new_column_is_refused_with_the_way_out(project: Project) -> None:
    start(project, Foo__c=entry(field("Bar__c")))
    project.execute("INSERT INTO salesforce.foo__c VALUES ('1', 'x')")
    both = entry(field("Bar__c", missing=True), field("Baz__c"))
    start(project, Foo__c=both)
    said = {"Foo__c": entry(field("Bar__c", missing=True), field("Baz__c", was="Bar__c"))}
    error = refusal(project, **said)
    assert error.message.startswith("Foo__c.Baz__c says that it was Bar__c, but the chain has both.")
    assert "take back the revision that added the new one" in error.remedy
    # That way out: revert, delete the file, and generate again.
    first, second = project.chain().revisions
    project.revert(first.revision)
    second.path.unlink()
    project.generate()
    project.apply()
    assert project.execute("SELECT baz__c FROM salesforce.foo__c") == [("x",)]


def test_an_object_whose_new_table_is_there_is_refused_and_its_old_table_stays(project: Project) -> None:
    chain(project, Foo__c=entry(field("Bar__c")), Foo2__c=entry(field("Bar__c")))
    error = refusal(project, Foo__c=entry(field("Bar__c"), missing=True), Foo2__c=entry(was="Foo__c"))
    assert error.message.startswith("Foo2__c says that it was Foo__c, but the chain has both.")


def test_two_heirs_and_swapped_names_are_refused(project: Project) -> None:
    chain(project, Foo__c=entry(field("Bar__c"), field("Qux__c")))
    old = field("Bar__c", missing=True)
    heirs = (field("A__c", was="Bar__c"), field("B__c", was="Bar__c"), field("Qux__c"))
    assert (
        "Both Foo__c.A__c and Foo__c.B__c say that they were Bar__c"
        in refusal(project, Foo__c=entry(old, *heirs)).message
    )
    swapped = entry(field("Bar__c", was="Qux__c", missing=True), field("Qux__c", was="Bar__c", missing=True))
    assert "but these names are swapped" in refusal(project, Foo__c=swapped).message


def test_a_field_without_a_column_cannot_be_what_another_one_was(project: Project) -> None:
    chain(project, Foo__c=entry(field("Bar__c")))
    fields = (
        field("Bar__c", missing=True),
        {"name": "Home__c", "type": "address", "choices": {"renamed_from": "Bar__c"}},
        {"name": "HomeCity__c", "type": "string", "length": 40, "compoundFieldName": "Home__c"},
    )
    assert "Foo__c.Home__c in" in refusal(project, Foo__c=entry(*fields)).message


def test_a_name_that_comes_back_as_another_field_is_a_new_column_and_is_never_dropped(project: Project) -> None:
    start(project, Foo__c=entry(field("Bar__c")))
    new = field("Baz__c", was="Bar__c")
    start(project, Foo__c=entry(field("Bar__c", missing=True), new))
    assert columns(project, "foo__c") == {"id", "baz__c"}
    start(project, Foo__c=entry(field("Bar__c"), new))
    assert columns(project, "foo__c") == {"id", "baz__c", "bar__c"}
    # Without the permission to see it, it looks like what was renamed before.
    error = refusal(project, Foo__c=entry(field("Bar__c", missing=True), new))
    assert "but the chain has both" in error.message
    project.write_meta({"Foo__c": entry(field("Bar__c", missing=True), field("Baz__c"))})
    assert project.generate().revisions == ()


def test_what_is_missing_and_is_added_again_without_its_rename_is_warned_of(project: Project) -> None:
    chain(project, Foo__c=entry(field("Bar__c")), Old__c=entry(field("X__c")))
    gone, moved = field("Bar__c", missing=True), entry(field("X__c"), missing=True)
    said = {"Foo__c": entry(gone, field("Baz__c", was="Bar__c")), "Old__c": moved}
    chain(project, **said, New__c=entry(field("X__c"), was="Old__c"))
    unsaid = {"Foo__c": entry(gone, field("Baz__c")), "Old__c": moved}
    project.write_meta({**unsaid, "New__c": entry(field("X__c"))})
    proposal = project.generate(dry_run=True)
    added = [part for part in statements(proposal) if "ADD COLUMN" in part or "CREATE TABLE" in part]
    assert [re.findall(r"salesforce\.\S+(?: ADD COLUMN \S+)?", part) for part in added] == [
        ["salesforce.foo__c ADD COLUMN bar__c"],
        ["salesforce.old__c"],
    ]
    told = [squeeze(line) for line in proposal.warnings]
    file = project.sources.object_meta_path
    assert told == [
        f"{name} is missing in the org, and the revisions have no {kind} for it: this one adds it, empty. If it was "
        f"renamed, delete the revision and put choices.renamed_from back at its heir in {file}; if it is gone, delete "
        "its entry there."
        for name, kind in (("Foo__c.Bar__c", "column"), ("Old__c", "table"))
    ]
    project.write_meta({**said, "New__c": entry(field("X__c"), was="Old__c")})
    assert project.generate().revisions == ()


def test_of_many_that_are_missing_and_added_again_the_first_are_named(project: Project) -> None:
    chain(project, Foo__c=entry(field("Bar__c")))
    project.write_meta({"Foo__c": entry(*(field(f"F{number:02}__c", missing=True) for number in range(40)))})
    told = project.generate(dry_run=True).warnings
    assert len(told) == 31
    assert told[0].startswith("Foo__c.F00__c is missing in the org")
    assert told[-1] == "… and 10 more that are missing in the org and are added, empty"


def test_what_went_missing_before_its_table_was_generated_is_not_warned_of(project: Project) -> None:
    gone = {"Gone__c": entry(field("X__c"), missing=True)}
    project.write_meta({"Foo__c": entry(field("Bar__c", missing=True)), **gone})
    assert project.generate().warnings == ()
    come = {"Come__c": entry(field("Baz__c", missing=True))}
    project.write_meta({"Foo__c": entry(field("Bar__c", missing=True)), **gone, **come})
    assert project.generate().warnings == ()
    # What has no column of its own is not added.
    site = {"name": "Site__c", "type": "address", "missing": True}
    street = field("Street__c", length=9, compoundFieldName="Site__c")
    project.write_meta({"Foo__c": entry(field("Bar__c", missing=True), site, street), **gone, **come})
    assert project.generate().warnings == ()


def test_two_that_are_both_there_are_not_taken_for_one(project: Project) -> None:
    start(project, Foo__c=entry(field("A__c"), field("B__c")), Bar__c=entry())
    error = refusal(project, Foo__c=entry(field("A__c"), field("B__c", was="A__c")), Bar__c=entry())
    assert "Foo__c.B__c says that it was A__c, but both are there" in error.message
    error = refusal(project, Foo__c=entry(field("A__c"), field("B__c")), Bar__c=entry(was="Foo__c"))
    assert "Bar__c says that it was Foo__c, but both are there" in error.message


def test_a_rename_that_is_said_after_its_draft_takes_the_drafts_place(project: Project) -> None:
    start(project, Foo__c=entry(field("A__c")))
    chain(project, Foo__c=entry(field("A__c", missing=True), field("B__c")))
    project.write_meta({"Foo__c": entry(field("A__c", missing=True), field("B__c", was="A__c"))})
    proposal = project.generate(open_proposals=OpenProposals(project.target))
    assert len(proposal.superseded) == 1
    assert [text.partition(" TO ")[2] for text in statements(proposal)] == ["b__c"]
