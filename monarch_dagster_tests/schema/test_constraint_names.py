"""Every constraint and index of a core model has a name of its own, whatever `MetaData` the models use."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import Table

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.core_models import load_core_models
from monarch_dagster.schema.desired import Sources, build_desired, ddl
from monarch_dagster.schema.facts import read_facts

TABLES = """
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import ExcludeConstraint, INT4RANGE
metadata = MetaData({convention})
parent = Table("parent", metadata, Column("id", Integer, primary_key=True), schema="s")
Table("t", metadata, Column("id", Integer, CheckConstraint("id <> 7"), primary_key=True),
      Column("a", Integer, unique=True), Column("b", Integer, index=True),
      Column("c", Integer, unique=True, index=True),
      Column("flag", Boolean(create_constraint=True)), Column("span", INT4RANGE),
      Column("parent_id", ForeignKey("s.parent.id")), CheckConstraint("a > 0"), CheckConstraint("a > 0"),
      CheckConstraint(column("b") > 1), CheckConstraint("b > 2", name="given"), UniqueConstraint("a", "b"),
      Index("ix_given", "a"), ExcludeConstraint(("span", "&&")), schema="s")
"""


def digest(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()[:8]


NAMELESS = {
    f"ck_t_{digest('id <> 7')}",
    f"ck_t_{digest('a > 0')}",
    f"ck_t_{digest('b > 1')}",
    f"ex_t_{digest('EXCLUDE USING gist (span WITH &&)')}",
}
OURS = {"pk_t", "uq_t_a", "uq_t_a_b", "fk_t_parent_id_parent"}


def load(root: Path, models: str) -> Table:
    (root / "client_models.py").write_text(models)
    return load_core_models("client_models", root).metadata.tables["s.t"]


def names(table: Table) -> set[str]:
    return {str(item.name) for item in (*table.constraints, *table.indexes)}


@pytest.mark.parametrize(
    ("convention", "expected"),
    [
        ("", OURS | {"given", "ix_s_t_b", "ix_s_t_c"}),
        ("naming_convention={'pk': 'key_of_%(table_name)s', 'ix': 'i_%(column_0_name)s'}",
         OURS - {"pk_t"} | {"key_of_t", "given", "i_b", "i_c"}),
        (
            "naming_convention=__import__('monarch_dagster.models.base').models.base.NAMING_CONVENTION",
            OURS | {"ck_t_given", "ix_t_b", "ix_t_c"},
        ),
    ],
    ids=["none", "their own", "ours"],
)  # fmt: skip
def test_given_names_and_the_models_own_convention_stay_and_the_rest_is_named(
    shadows: ShadowServer, tmp_path: Path, convention: str, expected: set[str]
) -> None:
    found = names(load(tmp_path, TABLES.format(convention=convention)))
    assert found == expected | NAMELESS | {"ix_given"}
    desired = build_desired(Sources(tmp_path, tmp_path, "client_models", "salesforce"))
    with shadows.clone(None) as url, connect(url) as connection:
        run_script(connection, ";\n".join(ddl(desired)))
        aspects = read_facts(connection, ["s"]).relations["table s.t"]
    built = {aspect.partition(" ")[2] for aspect in aspects if aspect.startswith(("constraint ", "index "))}
    assert built == found


def test_a_convention_that_names_checks_by_itself_is_kept_for_those_of_types_too(tmp_path: Path) -> None:
    table = load(
        tmp_path,
        "from sqlalchemy import *\nconvention = {'ck': 'check_%(table_name)s'}\n"
        "a = Table('t', MetaData(naming_convention=convention), Column('a', Integer), CheckConstraint('a > 0'),\n"
        "          schema='s')\n"
        "b = Table('u', MetaData(naming_convention=convention), schema='s')\n"
        "b.append_column(Column('a', Enum('x', native_enum=False, create_constraint=True)))\n",
    )
    other = load_core_models("client_models", tmp_path).metadata.tables["s.u"]
    assert ("check_t" in names(table), "check_u" in names(other)) == (True, True)


def test_a_comment_on_a_check_stays(shadows: ShadowServer, tmp_path: Path) -> None:
    (tmp_path / "client_models.py").write_text(
        "from sqlalchemy import *\nt = Table('t', MetaData(), Column('a', Integer),"
        " CheckConstraint('a > 0', name='c', comment='why'), schema='s')\n"
    )
    desired = build_desired(Sources(tmp_path, tmp_path, "client_models", "salesforce"))
    with shadows.clone(None) as url, connect(url) as connection:
        run_script(connection, ";\n".join(ddl(desired)))
        assert read_facts(connection, ["s"]).relations["table s.t"]["comment on constraint c"] == "why"


def test_a_name_that_a_convention_makes_too_long_is_shortened_alike_every_time(tmp_path: Path) -> None:
    models = (
        "from sqlalchemy import *\nt = Table('t', MetaData(), Column({0!r}, Integer, index=True),"
        " Column({1!r}, Integer), UniqueConstraint({0!r}, {1!r}), schema='s')\n"
    ).format("a" * 40, "ä" * 30)
    table = load(tmp_path, models)
    assert all(len(name.encode()) <= 63 for name in names(table))
    assert names(load(tmp_path, models)) == names(table)


LONG = "ä" * 32


@pytest.mark.soak
@pytest.mark.parametrize(
    ("body", "told"),
    [
        (f"t = Table('{LONG}', MetaData(), schema='s')", f"core table s.{LONG} is 64 bytes"),
        (f"t = Table('t', MetaData(), Column('{LONG}', Integer), schema='s')", f"the column {LONG} of core table s.t"),
        (f"t = Table('t', MetaData(), schema='{'s' * 64}')", f"the schema {'s' * 64} of core table t is 64 bytes"),
        (
            f"t = Table('t', MetaData(), Column('a', Integer), UniqueConstraint('a', name='{LONG}'), schema='s')",
            f"the constraint {LONG} of core table s.t is 64 bytes",
        ),
        (
            f"t = Table('t', MetaData(), Column('a', Integer), CheckConstraint('a > 0', name='{LONG}'), schema='s')",
            f"the constraint {LONG} of core table s.t",
        ),
        (
            f"t = Table('t', MetaData(), Column('a', Integer), Index('{LONG}', 'a'), schema='s')",
            f"the index {LONG} of core table s.t",
        ),
        (f"m = MetaData()\nSequence('{LONG}', schema='s', metadata=m)", f"core sequence s.{LONG} is 64 bytes"),
        (f"m = MetaData()\nEnum('x', name='{LONG}', schema='s', metadata=m)", f"core enum type s.{LONG} is 64"),
        (f"v = CreateView(select(literal(1).label('x')), '{LONG}', schema='s')", f"core view s.{LONG} is 64"),
        (
            f"v = CreateView(select(literal(1).label('{LONG}')), 'v', schema='s')",
            f"the column {LONG} of core view s.v is 64",
        ),
    ],
)
def test_a_name_that_postgresql_would_cut_is_refused(tmp_path: Path, body: str, told: str) -> None:
    models = f"from sqlalchemy import *\nfrom sqlalchemy.sql.ddl import CreateView\n{body}\n"
    (tmp_path / "client_models.py").write_text(models)
    with pytest.raises(MonarchError) as caught:
        load_core_models("client_models", tmp_path)
    assert f"The name of {told}" in caught.value.message
