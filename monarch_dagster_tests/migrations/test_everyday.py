"""The everyday flow: change a source, generate, apply, revert."""

from monarch_dagster_tests.support import Project, account


def test_a_first_generation_installs_all_that_the_sources_declare(project: Project) -> None:
    project.write_meta(account(Name={"type": "string", "length": 255}))
    proposal = project.generate(message="first")
    result = project.apply()
    assert (result.before, result.after) == (None, proposal.head)
    assert project.facts().tables() == {"landing.note", "salesforce.account"}


def test_an_unchanged_source_proposes_nothing_and_writes_no_file(project: Project) -> None:
    project.generate()
    files = sorted(project.versions.iterdir())
    assert project.generate().revisions == ()
    assert sorted(project.versions.iterdir()) == files


def test_a_field_added_by_hand_becomes_one_column_and_reverting_takes_just_that_away(project: Project) -> None:
    project.write_meta(account(Name={"type": "string", "length": 255}))
    first = project.generate().head
    project.apply()
    before = project.facts()
    project.write_meta(account(Name={"type": "string", "length": 255}, Tier__c={"type": "string", "length": 40}))
    project.generate(message="tier")
    project.apply()
    account_table = project.facts().relations["table salesforce.account"]
    assert account_table["column tier__c"] == "character varying(40)"
    assert first is not None
    project.revert(first)
    assert project.facts() == before
