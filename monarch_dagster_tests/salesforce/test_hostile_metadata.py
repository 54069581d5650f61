"""What an org calls its things is untrusted: it ends as inert text or in a refusal, never in SQL or Python."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster_tests.salesforce.support import ScriptedOrg, described, read, scripted, text
from monarch_dagster_tests.support import Project

MARK = "0WNED"
HOSTILE = [
    f"'); DROP TABLE landing.note; -- {MARK}",
    f'"; DROP SCHEMA landing CASCADE; -- {MARK}',
    f'"""\nimport os; os.environ["{MARK}"] = "1"\n"""',
    f"'''\nimport os; os.environ['{MARK}'] = '1'\n'''",
    f"{MARK} \\",
    f"{MARK} \\' \\\" \\n \\x27 \\N{{BELL}} \\u0027",
    f"{MARK} %s %(name)s %% %",
    f"{MARK} {{}} {{0}} {{__import__('os')}} ${{x}} <% x %>",
    f"{MARK} $$; DROP TABLE landing.note; $$ $body$",
    f"{MARK}\r\n\t\x0b\x0c\x1b[2J\x7f\u2028\u202e\0",
    f"{MARK} Größe 商談 🎉 \uffff",
    f"{MARK} */ /* -- #",
    MARK + "x" * 900,
]
# Names that mean something to PostgreSQL or Python.
WORDS = [
    "Order",
    "Select",
    "Table",
    "Default",
    "User",
    "Null",
    "Class",
    "None",
    "Import",
    "Lambda",
    "Op",
    "Sa",
    "Upgrade",
]


@pytest.fixture
def org() -> Iterator[ScriptedOrg]:
    with scripted({}) as served:
        yield served


def install(org: ScriptedOrg, project: Project) -> str:
    """Fetch, generate and apply; return the text of the revisions."""
    org.fetch(project.sources.object_meta_path)
    written = project.generate(message="hostile").revisions
    project.apply()
    assert project.generate().revisions == ()
    return "\n".join(item.path.read_text() for item in written)


def test_hostile_labels_types_and_references_are_inert(org: ScriptedOrg, project: Project) -> None:
    keys = [
        {"label": hostile, "type": hostile[:200], "referenceTo": [hostile], "compoundFieldName": hostile[:200]}
        for hostile in HOSTILE
    ]
    fields = [text(f"Field_{number}__c") | key for number, key in enumerate(keys)]
    for number, hostile in enumerate(HOSTILE):
        org.describes[f"Object_{number}__c"] = described(f"Object_{number}__c", *fields, label=hostile)
    revision = install(org, project)
    meta = read(project.sources.object_meta_path)
    assert [meta.objects[f"Object_{number}__c"].label for number in range(len(HOSTILE))] == HOSTILE
    ast.parse(revision)
    assert MARK not in revision
    assert MARK not in os.environ
    assert MARK not in project.dump()
    tables = {"landing.note", *(f"salesforce.object_{number}__c" for number in range(len(HOSTILE)))}
    assert project.facts().tables() == tables
    columns = project.facts().relations["table salesforce.object_0__c"]
    assert {columns[f"column field_{number}__c"] for number in range(len(HOSTILE))} == {"text"}


def test_words_of_sql_and_python_are_good_names(org: ScriptedOrg, project: Project) -> None:
    org.describes = {name: described(name, *(text(word) for word in WORDS)) for name in WORDS}
    install(org, project)
    assert {f"salesforce.{word.lower()}" for word in WORDS} < project.facts().tables()
    project.execute('INSERT INTO salesforce."order" (id, "select", "null") VALUES (%s, %s, %s)', "1", "a", "b")
    assert project.execute('SELECT "select" FROM salesforce."order"') == [("a",)]


def test_names_as_long_as_can_be_are_shortened_and_recorded(org: ScriptedOrg, project: Project) -> None:
    long = ["A" * 255, "A" * 254 + "b", "Ns__" + "Longitude" * 12 + "__c"]
    org.describes = {name: described(name, *(text(field) for field in long)) for name in long}
    install(org, project)
    tables = project.facts().tables() - {"landing.note"}
    assert len(tables) == 3
    assert all(len(name.removeprefix("salesforce.")) == 63 for name in tables)
    comments = [str(row[0]) for row in project.execute("SELECT description FROM pg_description WHERE objsubid > 0")]
    assert all(any(name in comment for comment in comments) for name in long)


@pytest.mark.parametrize(
    "name", ['Bad"Name', "Bad'Name", "Bad\nName", '"""', ";DROP TABLE x", "Größe", "x" * 300, "{}", "%s"]
)
def test_a_hostile_name_is_refused_and_nothing_is_written(org: ScriptedOrg, project: Project, name: str) -> None:
    for describes in ({name: described(name)}, {"Account": described("Account", text(name))}):
        org.describes = describes
        with pytest.raises(MonarchError) as raised:
            org.fetch(project.sources.object_meta_path)
        assert "\n" not in raised.value.message
        assert not project.sources.schema_dir.exists()


@pytest.mark.parametrize("name", ["xmin", "CTID", "TableOid"])
def test_a_field_named_like_a_system_column_is_refused_and_named(org: ScriptedOrg, project: Project, name: str) -> None:
    org.describes = {"Account": described("Account", text(name))}
    org.fetch(project.sources.object_meta_path)
    with pytest.raises(MonarchError, match=f"Account.{name}: {name.lower()} is a system column"):
        project.generate()
    assert not list(project.versions.glob("*.py"))


def test_a_key_gets_another_name_where_an_object_is_called_like_it(org: ScriptedOrg, project: Project) -> None:
    org.describes = {name: described(name) for name in ("Account", "pk_account")}
    org.fetch(project.sources.object_meta_path)
    project.generate()
    project.apply()
    assert {"salesforce.account", "salesforce.pk_account"} <= project.facts().tables()
    assert project.generate().revisions == ()


def written(folder: Path) -> list[str]:
    """Return the names of the files below a folder."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_refused_fetch_leaves_no_temporary_file(org: ScriptedOrg, project: Project) -> None:
    org.describes = {"Account": described("Account")}
    org.fetch(project.sources.object_meta_path)
    before = written(project.root)
    org.describes["Lead"] = described("Lead", text("a b"))
    with pytest.raises(MonarchError):
        org.fetch(project.sources.object_meta_path)
    assert written(project.root) == before
