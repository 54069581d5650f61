"""Hostile text ends as inert text in the generated file (DESIGN rule 9)."""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monarch_dagster.migrations.chain import load_chain
from monarch_dagster.migrations.rendering import escape_parameters, render_revision
from monarch_dagster.migrations.revisions import Hazard
from monarch_dagster_tests.support import Project

HOSTILE = [
    '"""',
    '""" + __import__("os").system("x") + """',
    "\\",
    "\\\\N{BULLET}\\x41\\",
    'ends in a quote"',
    "two\nlines\r\nand\x0bmore\x0c\x1c\x1d\x85\u2028\u2029",
    "{} {0} {{ }} ${message} <% exec %> % percent\n% for x in y:\n## comment",
    "NUL \0 and \ud800 half a character",
    "Hazard: data_loss landing.x: not one",
    "revision = 'forged'\ndown_revision = 'forged'",
    "\u202egnihton\u200b",
    "",
]
TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60), st.lists(st.sampled_from(HOSTILE)).map("".join))
WORD = st.text(alphabet=st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20)
HAZARDS = st.lists(
    st.builds(
        Hazard, st.sampled_from(["data_loss", "rewrite", "scan", "lock"]), WORD.filter(lambda x: x[-1] != ":"), WORD
    ),
    max_size=3,
)


def rendered(message: str, hazards: list[Hazard]) -> str:
    return render_revision(
        revision="abc", down_revision=None, message=message, hazards=hazards, upgrades="pass", downgrades="pass"
    )


@given(message=TEXT, hazards=HAZARDS)
def test_message_and_hazards_come_back_from_the_file_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, message: str, hazards: list[Hazard]
) -> None:
    folder = tmp_path_factory.mktemp("chain") / "versions"
    folder.mkdir()
    text = rendered(message, hazards)
    (folder / "x.py").write_text(text)
    found = load_chain(folder.parent).revisions[0]
    assert found.revision == "abc"
    assert found.down_revision is None
    assert found.message == " ".join(message.split())
    assert found.hazards == tuple(hazards)


@given(message=TEXT)
def test_the_file_holds_the_same_code_whatever_the_message_says(message: str) -> None:
    def code(text: str) -> str:
        tree = ast.parse(text)
        docstring = tree.body.pop(0)
        assert isinstance(docstring, ast.Expr)
        assert isinstance(docstring.value, ast.Constant)
        assert docstring.value.value.startswith(" ".join(message.split()) if text == given_text else "plain")
        return ast.dump(tree)

    given_text = rendered(message, [])
    assert code(given_text) == code(rendered("plain", []))
    assert given_text.isprintable() or set(given_text) - {"\n"} <= {
        c for c in given_text if c.isprintable() or c == "\n"
    }


# SQLAlchemy has no escape for a word between two colons, nor for a backslash in front of two.
UNWRITABLE = re.compile(r"\\::|:\w{2,}:")


@given(sql=st.text(alphabet=":a1\\' %", max_size=12).filter(lambda text: not UNWRITABLE.search(text)))
def test_sql_in_text_has_no_parameters_after_escaping(sql: str) -> None:
    from sqlalchemy import text
    from sqlalchemy.dialects import postgresql

    compiled = text(escape_parameters(sql)).compile(dialect=postgresql.dialect(paramstyle="named"))
    assert (str(compiled), compiled.params) == (sql, {})


def test_a_hostile_message_is_generated_proved_and_applied_as_text(project: Project) -> None:
    message = "".join(HOSTILE)
    proposal = project.generate(message=message)
    assert project.chain().revisions[0].message == " ".join(message.split())
    assert project.apply().after == proposal.head
    assert {path.parent for path in Path(project.sources.schema_dir).rglob("*.py")} == {project.versions}
