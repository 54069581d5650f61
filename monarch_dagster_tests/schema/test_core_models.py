"""Core models come out of their import process as plain SQLAlchemy, or as an error that names what is wrong."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import pytest
from sqlalchemy import MetaData, String
from sqlalchemy.dialects import postgresql

from monarch_dagster.errors import MonarchError
from monarch_dagster.schema.core_models import import_core_models, load_core_models, source_digest, source_files
from monarch_dagster.schema.desired import Sources, build_desired, ddl
from monarch_dagster_tests.support import MODELS_HEADER

OWN_THINGS = """
import enum
from sqlalchemy import event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import column_property, relationship
from sqlalchemy.sql.expression import FunctionElement

class Colour(enum.Enum):
    RED = "red"

class Code(String):
    "A type of the client's own that adds nothing to its DDL."

class Upper(TypeDecorator):
    impl = Code(5)
    cache_ok = True

class utcnow(FunctionElement):
    inherit_cache = True

@compiles(utcnow, "postgresql")
def compile_utcnow(element, compiler, **kw):
    return "timezone('utc', now())"

class Parent(Base):
    __tablename__ = "parent"
    __table_args__ = {"schema": "landing", "info": {"handler": lambda: 1, "renamed_from": "old"}}
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True, info={"doc": object()})
    colour = mapped_column(Enum(Colour, name="colour", schema="landing"), default=Colour.RED)
    code = mapped_column(Code(7), default=lambda: "x", onupdate=lambda context: "y")
    codes = mapped_column(ARRAY(Upper), info={"renamed_from": "code_list"})
    at = mapped_column(DateTime, server_default=utcnow())
    filled = mapped_column(Text, server_default=FetchedValue(), server_onupdate=FetchedValue())
    document = mapped_column(MutableDict.as_mutable(JSON))
    children: Mapped[list["Child"]] = relationship(back_populates="parent")
    both = column_property(code + "x")

class Child(Base):
    __tablename__ = "child"
    __table_args__ = {"schema": "landing"}
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    parent_id = mapped_column(ForeignKey(Parent.id, use_alter=True))
    parent: Mapped[Parent] = relationship(back_populates="children")

@event.listens_for(Base.metadata, "before_create")
@event.listens_for(Parent.__table__, "after_create")
def never(*arguments, **options):
    raise RuntimeError("a listener of the client ran")

@event.listens_for(Parent, "before_insert")
def validate(mapper, connection, target):
    pass
"""
WITHOUT_CONVENTION = """
old = Table("old", MetaData(), Column("id", Integer, primary_key=True),
      Column("a", Boolean(create_constraint=True, name="b")), CheckConstraint("id > 0", name="positive"),
      UniqueConstraint("a", name="only"), schema="landing")
"""


def load(root: Path, body: str) -> MetaData:
    (root / "client_models.py").write_text(MODELS_HEADER + textwrap.dedent(body))
    return load_core_models("client_models", root).metadata


def refusal(root: Path, body: str) -> str:
    with pytest.raises(MonarchError) as caught:
        load(root, body)
    assert caught.value.remedy
    return caught.value.message


def test_what_is_the_clients_own_is_reduced_to_its_ddl(tmp_path: Path) -> None:
    table = load(tmp_path, OWN_THINGS).tables["landing.parent"]
    columns = table.columns
    assert table.info == {"renamed_from": "old"}
    assert columns["id"].info == {}
    assert columns["codes"].info == {"renamed_from": "code_list"}
    assert type(columns["colour"].type) is postgresql.ENUM
    assert columns["colour"].type.enums == ["RED"]
    assert type(columns["code"].type) is String
    assert type(columns["codes"].type.item_type) is String
    assert str(columns["at"].server_default.arg) == "timezone('utc', now())"
    assert columns["filled"].server_default is None
    assert all(column.default is column.onupdate is None for column in columns)


def test_the_ddl_of_it_runs_no_code_of_the_client(tmp_path: Path) -> None:
    (tmp_path / "client_models.py").write_text(MODELS_HEADER + OWN_THINGS)
    statements = ddl(build_desired(Sources(tmp_path, tmp_path, "client_models", "salesforce")))
    assert "CREATE TYPE landing.colour AS ENUM ('RED')" in statements
    assert any("parent_id" in statement for statement in statements)


def test_names_that_the_client_gave_stay_and_only_the_nameless_get_one(tmp_path: Path) -> None:
    table = load(tmp_path, WITHOUT_CONVENTION).tables["landing.old"]
    assert {constraint.name for constraint in table.constraints} == {"pk_old", "positive", "only"}


def test_every_metadata_of_a_package_and_its_modules_is_united(tmp_path: Path) -> None:
    package = tmp_path / "client"
    (package / "deep").mkdir(parents=True)
    for path, name in (
        (package / "__init__.py", "one"),
        (package / "a.py", "two"),
        (package / "deep/__init__.py", "x"),
    ):
        path.write_text(
            f"from sqlalchemy import *\nt = Table({name!r}, MetaData(), Column('id', Integer), schema='s')\n"
        )
    (package / "b.py").write_text("from client.a import t as again\n")
    assert sorted(load_core_models("client", tmp_path).metadata.tables) == ["s.one", "s.two", "s.x"]
    assert len(source_files("client", tmp_path)) == 4


def test_an_edit_is_seen_at_once_though_time_and_size_stay(tmp_path: Path) -> None:
    import os

    for name in ("aaa", "bbb"):
        path = tmp_path / "client_models.py"
        path.write_text(
            f"from sqlalchemy import *\nt = Table({name!r}, MetaData(), Column('id', Integer), schema='s')\n"
        )
        os.utime(path, (1, 1))
        assert list(load_core_models("client_models", tmp_path).metadata.tables) == [f"s.{name}"]
    assert not (tmp_path / "__pycache__").exists()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("def broken(:", "do not import: SyntaxError: invalid syntax"),
        ("import not_installed_anywhere", "do not import: ModuleNotFoundError: No module named 'not_installed"),
        ("from sqlalchemy import no_such_thing", "do not import: ImportError: cannot import name 'no_such_thing'"),
        ("raise ValueError('why not')", "do not import: ValueError: why not"),
        ("import sys; sys.exit('gave up')", "do not import: SystemExit: gave up"),
        ("import sys; sys.exit(0)", "do not import: SystemExit: 0"),
        ("import os; os._exit(0)", "could not be imported: their process ended, with exit code 0"),
        ("import os; os.write(2, b'\\xff gone'); os._exit(4)", "could not be imported: \N{REPLACEMENT CHARACTER} gone"),
        ("", "The core models client_models declare no table."),
        ("Table('t', Base.metadata, Column('id', Integer))", "The core model of table t names no schema."),
        ("Table('t', Base.metadata, Column('id', Integer), schema='Upper')", "The schema of core table t is 'Upper'"),
        ("Table('t', Base.metadata, Column('id', Integer), schema='public')", "The schema of core table t is 'public'"),
        ("Table('t', Base.metadata, schema='s'); m = MetaData(); Table('t', m, schema='s')", "s.t is declared twice"),
        ("for _ in 'ab': Table('t', Base.metadata, Column('id', Integer), schema='s')", "already defined for this"),
        (
            "from sqlalchemy.dialects.mysql import TINYINT\nclass Odd(types.UserDefinedType):\n"
            "    def get_col_spec(self): return 'odd'\nTable('t', Base.metadata, Column('a', Odd), schema='s')",
            "The column s.t.a of the core models cannot be written in a revision: ",
        ),
        (
            "t = Table('t', Base.metadata, Column('id', Integer), schema='s')\n"
            "class F(functions.GenericFunction):\n    type = Integer\nIndex('i', F(t.c.id))",
            "The core models use ",
        ),
    ],
)
def test_models_that_cannot_be_used_are_told(tmp_path: Path, body: str, told: str) -> None:
    prelude = "from sqlalchemy import types\nfrom sqlalchemy.sql import functions\n"
    assert told in refusal(tmp_path, prelude + body if "types." in body or "functions." in body else body)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("argument", "what"),
    [
        ("""CheckConstraint("a like '%x:y%' or a ~ ':foo'", name="c")""", "the check constraint c"),
        ("""CheckConstraint("a ~ ':foo'")""", "the check constraint (without a name)"),
        ("""Column("b", Text, CheckConstraint("b ~ ':foo'", name="c"))""", "the check constraint c"),
        ("""CheckConstraint(column("a") == bindparam("foo"), name="c")""", "the check constraint c"),
        ("""Index("i", text("(a || ':foo%')"))""", "the index i"),
        ("""Index("i", func.lower(text("':foo'")))""", "the index i"),
        ("""Index("i", "a", postgresql_where=text("a <> ':foo'"))""", "the index i"),
        ("""Index("i", "a", postgresql_where="a <> ':foo'")""", "the index i"),
        ("""Column("b", Text, server_default=text("':foo'"))""", "the default of column b"),
        ("""Column("b", Text, Computed("a || ':foo'"))""", "the computed column b"),
        ("""ExcludeConstraint((text("a || ':foo'"), "="), name="e")""", "the exclusion constraint e"),
        ("""ExcludeConstraint(("a", "="), where="a <> ':foo'", name="e")""", "the exclusion constraint e"),
    ],
)
def test_a_colon_that_begins_a_parameter_is_told_with_its_place_and_how_to_write_it(
    tmp_path: Path, argument: str, what: str
) -> None:
    # As it stands, the DDL would have NULL or another text there.
    body = "from sqlalchemy.dialects.postgresql import ExcludeConstraint\n" + (
        f"t = Table('t', MetaData(), Column('a', Text), {argument}, schema='s')"
    )
    with pytest.raises(MonarchError) as caught:
        load(tmp_path, body)
    assert caught.value.message == (
        f"SQLAlchemy takes :foo in {what} of core table s.t for a parameter, which has no value."
    )
    assert r"Write \\:foo there" in caught.value.remedy
    load(tmp_path, body.replace(":foo", r"\\:foo").replace('bindparam("', 'literal("'))


def test_colons_of_casts_slices_times_and_values_are_no_parameters(tmp_path: Path) -> None:
    table = load(
        tmp_path,
        """
        t = Table("t", MetaData(), Column("a", Text, server_default=":foo"),
                  Column("b", Text, server_default=text("'1:30'")),
                  CheckConstraint("a::text <> '' and (string_to_array(a, ','))[1:2] is not null", name="c"),
                  CheckConstraint(column("a").in_([":x", ":y"]), name="d"), schema="s")
        """,
    ).tables["s.t"]
    assert len(table.constraints) == 3


def test_what_models_print_and_start_is_nobody_elses(tmp_path: Path) -> None:
    started = time.monotonic()
    table = load(
        tmp_path,
        """
        import os, subprocess
        for output in (1, 2):
            os.write(output, b"\\xff" * 200_000)
        subprocess.Popen(["sleep", "30"])
        Table("t", MetaData(), Column("a", Text), schema="s")
        t = Table("u", MetaData(), Column("a", Text), schema="s")
        """,
    ).tables["s.u"]
    assert list(table.columns.keys()) == ["a"]
    assert time.monotonic() - started < 20


def test_an_error_within_sqlalchemy_is_told_by_the_models_line(tmp_path: Path) -> None:
    lines = MODELS_HEADER.count("\n")
    body = "ForeignKeyConstraint(['a'], ['s.u.a', 's.u.b'])"
    assert f"client_models.py, line {lines + 1})" in refusal(tmp_path, body)


def test_the_place_of_an_error_is_in_the_message(tmp_path: Path) -> None:
    lines = MODELS_HEADER.count("\n")
    assert f"({tmp_path / 'client_models.py'}, line {lines + 2})" in refusal(tmp_path, "x = 1\nraise ValueError('why')")


@pytest.mark.parametrize("name", ["no_such_module", "no_such.module", "client_models.nothing", "..", "a-b"])
def test_a_module_that_is_not_there_is_told_from_one_that_is_broken(tmp_path: Path, name: str) -> None:
    (tmp_path / "client_models.py").write_text("")
    for use in (load_core_models, source_digest):
        with pytest.raises(MonarchError, match="There is no module") as caught:
            use(name, tmp_path)
        assert "MONARCH_CORE_MODELS" in caught.value.remedy


def test_a_foreign_key_to_nothing_is_named_and_one_to_a_provider_table_is_fine(tmp_path: Path) -> None:
    from monarch_dagster.salesforce.object_meta import ObjectMeta, write_object_meta
    from monarch_dagster_tests.support import account

    sources = Sources(tmp_path, tmp_path / "schema", "client_models", "salesforce")
    (tmp_path / "client_models.py").write_text(
        MODELS_HEADER
        + "Table('t', Base.metadata, Column('a', ForeignKey('salesforce.account.id')), schema='landing')\n"
    )
    with pytest.raises(MonarchError, match=r"The foreign key of landing.t.a refers to nothing"):
        build_desired(sources)
    write_object_meta(sources.object_meta_path, ObjectMeta.model_validate({"objects": account()}))
    column = build_desired(sources).metadata.tables["landing.t"].columns["a"]
    assert str(column.type) == "VARCHAR(18)"


def test_the_digest_follows_names_and_contents_and_not_times(tmp_path: Path) -> None:
    import os

    path = tmp_path / "client_models.py"
    path.write_text("a = 1")
    before = source_digest("client_models", tmp_path)
    os.utime(path, (1, 1))
    assert source_digest("client_models", tmp_path) == before
    path.write_text("a = 2")
    assert source_digest("client_models", tmp_path) != before


def test_a_table_of_an_object_and_of_a_core_model_collide(tmp_path: Path) -> None:
    from monarch_dagster.salesforce.object_meta import ObjectMeta, write_object_meta
    from monarch_dagster_tests.support import account

    sources = Sources(tmp_path, tmp_path / "schema", "client_models", "salesforce")
    write_object_meta(sources.object_meta_path, ObjectMeta.model_validate({"objects": account()}))
    (tmp_path / "client_models.py").write_text(
        MODELS_HEADER + "Table('account', Base.metadata, Column('id', Integer), schema='salesforce')\n"
    )
    with pytest.raises(MonarchError, match=r"salesforce.account of object Account is declared by the core models too"):
        build_desired(sources)


def test_the_same_models_are_handed_over_as_the_same_bytes() -> None:
    root = Path(__file__).parents[2]
    assert len({import_core_models("monarch_dagster.models", root) for _ in range(4)}) == 1
