"""Views, enum types and sequences that core models declare arrive as plain records, and PostgreSQL builds them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from sqlalchemy.dialects import postgresql

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.declared import EnumType, NamedSequence, View, in_order
from monarch_dagster.schema.desired import Desired, Sources, build_desired, ddl
from monarch_dagster.schema.facts import Facts, read_facts
from monarch_dagster_tests.support import MODELS_HEADER

HEADER = """
import enum
from sqlalchemy.dialects.postgresql import DOMAIN, ENUM
from sqlalchemy.sql.ddl import CreateView

class Mood(enum.Enum):
    HAPPY = "it's fine: 100%"
    SAD = "sad"

"""
VIEWS = """
Note = Table("note", Base.metadata, Column("id", Integer, primary_key=True), Column("Body", Text),
             Column("mood", Enum(Mood, name="mood")), schema="landing")
# Named so that neither the names' order nor the order of declaration is the one that works.
CreateView(text("SELECT b.id FROM staging . c b /* landing.a */;").columns(column("id", Integer)), "a",
           schema="landing", metadata=Base.metadata)
last = CreateView(select(Note.c.id, Note.c.Body, literal("a\\\\b%:x").label("word")).where(
    Note.c.id % 5 == 1, Note.c.mood == Mood.HAPPY, Note.c.Body.like("100%")), "z", schema="landing",
    metadata=Base.metadata)
CreateView(select(last.table.c.id), "c", schema="staging", metadata=Base.metadata, materialized=True)
CreateView(text("SELECT 1 % 2 AS x, '\\\\:y' AS y").columns(column("x", Integer), column("y", Text)), "Odd name",
           schema="staging", metadata=Base.metadata)
alone = CreateView(select(literal(1).label("x")), "alone", schema="views_only")
"""
ENUMS = """
mood = Enum(Mood, name="mood", schema="other")
Table("t", Base.metadata, Column("a", mood), Column("b", ARRAY(mood)), Column("own", Enum("x", "y", name="own")),
      Column("checked", Enum(Mood, native_enum=False)), Column("d", mood, server_default="SAD"), schema="landing")
Table("u", Base.metadata, Column("a", ENUM("HAPPY", "SAD", name="mood", schema="other", create_type=False)),
      Column("own", ARRAY(Enum("x", "y", name="own"))), schema="staging")
Enum("only", name="unused", schema="types_only", metadata=Base.metadata)
Table("v", Base.metadata, Column("a", Enum("a", "b", name="text_here").with_variant(Text(), "postgresql")),
      schema="staging")
"""
SEQUENCES = """
counter = Sequence("counter", schema="landing", metadata=Base.metadata, start=5, increment=-2, minvalue=-100,
                   maxvalue=50, cache=3, cycle=True, data_type=Integer)
Table("t", Base.metadata, Column("id", Integer, Sequence("t_ids", schema="staging"), primary_key=True),
      Column("n", BigInteger, server_default=counter.next_value()), schema="landing")
Table("u", Base.metadata, Column("id", Integer, Sequence("spare", schema="landing", optional=True), primary_key=True),
      schema="landing")
"""
CYCLE = """
Table("a", Base.metadata, Column("id", Integer, primary_key=True), Column("b", ForeignKey("landing.b.id")),
      schema="landing")
Table("b", Base.metadata, Column("id", Integer, primary_key=True), Column("a", ForeignKey("landing.a.id")),
      schema="landing")
"""


def desired(root: Path, body: str) -> Desired:
    (root / "client_models.py").write_text(MODELS_HEADER + HEADER + textwrap.dedent(body))
    return build_desired(Sources(root, root, "client_models", "salesforce"))


def built(shadows: ShadowServer, wanted: Desired) -> Facts:
    """Build the desired schema in an empty database and return its facts."""
    with shadows.clone(None) as url, connect(url) as connection:
        run_script(connection, ";\n".join(ddl(wanted)))
        return read_facts(connection, wanted.schemas)


def refusal(root: Path, body: str) -> str:
    with pytest.raises(MonarchError) as caught:
        desired(root, body)
    assert caught.value.remedy
    return caught.value.message


def test_views_arrive_as_text_in_an_order_that_works_and_are_no_tables(shadows: ShadowServer, tmp_path: Path) -> None:
    wanted = desired(tmp_path, VIEWS)
    assert list(wanted.metadata.tables) == ["landing.note"]
    views = {view.key: view for view in wanted.views}
    assert [key for key in views if key in ("landing.z", "staging.c", "landing.a")] == [
        "landing.z",
        "staging.c",
        "landing.a",
    ]
    assert views["landing.a"].select == "SELECT b.id FROM staging . c b /* landing.a */"
    assert "landing.note.id % 5 = 1" in views["landing.z"].select
    assert r"'a\b%:x' AS word" in views["landing.z"].select
    assert "mood = 'HAPPY'" in views["landing.z"].select
    assert views["staging.Odd name"].select == "SELECT 1 % 2 AS x, ':y' AS y"
    assert [key for key, view in views.items() if view.materialized] == ["staging.c"]
    assert wanted.schemas == ("landing", "staging", "views_only")
    facts = built(shadows, wanted)
    assert {"view landing.a", "materialized view staging.c", "view staging.Odd name"} <= facts.relations.keys()
    assert facts.tables() == {"landing.note"}


def test_enum_types_stand_beside_the_tables_and_columns_only_name_them(shadows: ShadowServer, tmp_path: Path) -> None:
    wanted = desired(tmp_path, ENUMS)
    assert wanted.enums == (
        EnumType("landing", "own", ("x", "y")),
        EnumType("other", "mood", ("HAPPY", "SAD")),
        EnumType("staging", "own", ("x", "y")),
        EnumType("types_only", "unused", ("only",)),
    )
    columns = wanted.metadata.tables["landing.t"].columns
    for kind in (columns["a"].type, columns["b"].type.item_type, columns["own"].type):
        assert type(kind) is postgresql.ENUM
        assert kind.create_type is False
    assert (columns["a"].type.schema, columns["own"].type.schema) == ("other", "landing")
    assert sum("CREATE TYPE" in statement for statement in ddl(wanted)) == 4
    facts = built(shadows, wanted)
    assert facts.relations["table landing.t"]["column b"] == "other.mood[]"
    assert facts.relations["table staging.u"]["column own"] == "staging.own[]"
    assert facts.relations["enum types_only.unused"] == {"definition": "'only'"}


def test_an_enum_type_is_found_wherever_a_model_hides_it(shadows: ShadowServer, tmp_path: Path) -> None:
    body = """
    from typing import Optional

    class Wrapped(TypeDecorator):
        impl = Enum(Mood, name="wrapped", schema="other")
        cache_ok = True

    class Note(Base):
        __tablename__ = "note"
        __table_args__ = {"schema": "landing"}
        id: Mapped[int] = mapped_column(primary_key=True)
        mood: Mapped[Optional[Mood]]
        many = mapped_column(ARRAY(Wrapped, dimensions=2))
        chosen = mapped_column(Text().with_variant(Enum("x", name="chosen"), "postgresql"))

    CreateView(select(Note.id, Note.mood).where(Note.mood == Mood.SAD), "v", schema="landing", metadata=Base.metadata)
    """
    wanted = desired(tmp_path, body)
    assert [item.key for item in wanted.enums] == ["landing.chosen", "landing.mood", "other.wrapped"]
    facts = built(shadows, wanted)
    assert facts.relations["table landing.note"]["column many"] == "other.wrapped[]"
    assert facts.dependencies["view landing.v"] == {
        ("enum landing.mood", ""),
        ("table landing.note", "id"),
        ("table landing.note", "mood"),
    }


def test_labels_may_hold_anything(shadows: ShadowServer, tmp_path: Path) -> None:
    body = """
    Table("t", Base.metadata, Column("a", Enum(Mood, name='a"b', values_callable=lambda kind: [m.value for m in kind]),
          server_default="it's fine: 100%"), schema="landing")
    """
    wanted = desired(tmp_path, body)
    assert wanted.enums[0].labels == ("it's fine: 100%", "sad")
    facts = built(shadows, wanted)
    assert facts.relations['enum landing.a"b'] == {"definition": "'it''s fine: 100%', 'sad'"}


def test_sequences_of_the_metadata_and_of_columns_are_declared(shadows: ShadowServer, tmp_path: Path) -> None:
    wanted = desired(tmp_path, SEQUENCES)
    assert wanted.sequences == (
        NamedSequence("landing", "counter", "INTEGER", 5, -2, -100, 50, 3, True),
        NamedSequence("staging", "t_ids"),
    )
    assert wanted.schemas == ("landing", "staging")
    relations = built(shadows, wanted).relations
    assert relations["sequence landing.counter"]["definition"] == (
        "integer start 5 increment -2 min -100 max 50 cache 3 cycle"
    )
    # Its default is SQLAlchemy's to fetch: PostgreSQL must not add a sequence of its own.
    assert relations["table landing.t"]["column id"] == "integer NOT NULL"
    assert relations["table landing.t"]["column n"] == "bigint DEFAULT nextval('landing.counter'::regclass)"
    assert relations["table landing.u"]["column id"].startswith("integer DEFAULT nextval(")


def test_tables_that_refer_to_each_other_can_be_built(shadows: ShadowServer, tmp_path: Path) -> None:
    assert built(shadows, desired(tmp_path, CYCLE)).tables() == {"landing.a", "landing.b"}


def test_views_that_only_seem_to_name_each_other_are_kept_all() -> None:
    views = [View("s", "b", "SELECT 's.a'"), View("s", "a", "SELECT 's.b'"), View("s", "ab", "SELECT 1 FROM S.B")]
    assert [view.name for view in in_order(views)] == ["a", "b", "ab"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            'Table("t", Base.metadata, Column("a", Enum("x", "y", name="k", schema="s")), schema="s")\n'
            'Table("u", Base.metadata, Column("b", Enum("y", "x", name="k", schema="s")), schema="s")',
            "The enum type s.k is declared in two ways: as CREATE TYPE s.k AS ENUM ('x', 'y') by s.t.a, "
            "as CREATE TYPE s.k AS ENUM ('y', 'x') by s.u.b.",
        ),
        ('Enum("x", name="k", metadata=Base.metadata)', "The enum type k of the core models names no schema."),
        ('Enum("x", name="k", schema="public", metadata=Base.metadata)', "The schema of core enum type k is 'public'"),
        ('Sequence("q", metadata=Base.metadata)', "The sequence q of the core models names no schema."),
        ('Sequence("q", schema="alembic", metadata=Base.metadata)', "The schema of core sequence q is 'alembic'"),
        (
            'Sequence("q", schema="s", start=1, metadata=Base.metadata)\n'
            'Table("t", MetaData(), Column("a", Integer, Sequence("q", schema="s", start=2)), schema="s")\n'
            'u = Table("u", MetaData(), Column("a", Integer, Sequence("q", schema="s", start=2)), schema="s")',
            "The sequence s.q is declared in two ways",
        ),
        (
            'Sequence("q", schema="s", metadata=Base.metadata)\nTable("q", Base.metadata, schema="s")',
            "The name s.q is declared twice",
        ),
        ('v = CreateView(select(literal(1).label("x")), "v")', "The core model of view v names no schema."),
        ('v = CreateView(select(literal(1).label("x")), "v", schema="pg_x")', "The schema of core view v is 'pg_x'"),
        (
            'v = CreateView(select(literal(1).label("x")), "v", schema="s")\n'
            'w = CreateView(select(literal(1).label("x")), "v", schema="s")',
            "The view s.v is declared twice",
        ),
        (
            'v = CreateView(select(bindparam("x", type_=Integer).label("x")), "v", schema="s")',
            "The SELECT of the core view s.v cannot be written in a revision",
        ),
        (
            'v = CreateView(select(literal(1).label("x")), "v", schema="s", postgresql_with={"fillfactor": 1})',
            "The core view s.v has options",
        ),
        (
            'v = CreateView(select(literal(1).label("x")), "v", schema="s")\nIndex("i", v.table.c.x)',
            "The core view s.v has options, an index",
        ),
        (
            'v = select(literal(1).label("x")).into("t", schema="s", metadata=Base.metadata)',
            "The core table s.t is declared by a statement of its own",
        ),
        (
            'Table("t", Base.metadata, Column("a", DOMAIN("d", Integer, schema="s")), schema="s")',
            "its type is a domain",
        ),
    ],
)
def test_what_cannot_be_declared_is_told(tmp_path: Path, body: str, told: str) -> None:
    assert told in refusal(tmp_path, body)
