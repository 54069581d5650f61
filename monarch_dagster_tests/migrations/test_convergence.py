"""What models declare converges, so that a second generation finds nothing; `corpus` has the changes one by one."""

from __future__ import annotations

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster_tests.support import Project, account

HEADER = """
import enum
from sqlalchemy.dialects.postgresql import ExcludeConstraint, INET, INT4RANGE, INTERVAL, JSONB, TSVECTOR

class Colour(enum.Enum):
    RED = "red"
    BLUE = "it's blue: 50%"

class Trimmed(TypeDecorator):
    impl = String
    cache_ok = True
    def process_bind_param(self, value, dialect):
        return value and value.strip()

class Money(TypeDecorator):
    impl = Numeric
    cache_ok = True
    def load_dialect_impl(self, dialect):
        return dialect.type_descriptor(Numeric(12, 2))
"""


def table(columns: str, *, name: str = "t", arguments: str = "") -> str:
    """Return a model of a table with a key, these columns (a line each) and these table arguments."""
    lines = "\n    ".join(line.strip() for line in columns.strip().splitlines())
    return f"""
class {name.title()}(Base):
    __tablename__ = {name!r}
    __table_args__ = ({arguments}{{"schema": "landing"}})
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    {lines}
"""


EMPTY = table("")
EVERYTHING = (
    HEADER
    + table(
        r"""
        quoted = mapped_column(Text, server_default="50%: it's :x \\ \"q\" {}'", comment="100% 'sure' :x \\ \n {}")
        expression = mapped_column(Text, server_default=text("'a%' || '\\:b'"))
        calculated = mapped_column(Text, Computed("quoted || '%\\:c'", persisted=True))
        document = mapped_column(JSONB, server_default=text("'{\"a\": 1}'::jsonb"))
        many = mapped_column(ARRAY(Trimmed(5)))
        at = mapped_column(DateTime(timezone=True), server_default=func.now())
        colour = mapped_column(Enum(Colour, native_enum=False, length=20))
        checked = mapped_column(Enum(Colour, native_enum=False, create_constraint=True, name="colour"))
        flag = mapped_column(Boolean(create_constraint=True, name="flag"), server_default=false())
        money = mapped_column(Money, default=lambda: 1, onupdate=lambda: 2, info={"any": object()})
        variant = mapped_column(Text().with_variant(String(7), "postgresql"))
        collated = mapped_column(String(10, collation="C"))
        span = mapped_column(INT4RANGE)
        others = mapped_column(INET)
        words = mapped_column(TSVECTOR)
        period = mapped_column(INTERVAL(precision=3))
        uuid = mapped_column(Uuid, server_default=text("gen_random_uuid()"))
        counted = mapped_column(Integer, nullable=False)
        parent = mapped_column(ForeignKey("landing.t.id", ondelete="SET NULL", deferrable=True, initially="DEFERRED"))
        weird = mapped_column('a%b "c', Integer, index=True)
        """,
        arguments="""
        CheckConstraint("quoted <> 'it''s %\\\\:x'", name="quoted"),
        CheckConstraint(column("counted") % 7 < 5, name="remainder"),
        UniqueConstraint("counted", "money", postgresql_nulls_not_distinct=True),
        Index("ix_partial", "counted", postgresql_where=text("counted % 2 = 0 AND quoted <> '\\\\:x'")),
        Index("ix_expression", text("lower(quoted || 'x%')"), text("counted DESC NULLS LAST")),
        Index("ix_include", "counted", postgresql_include=["money"]),
        Index("ix_words", "words", postgresql_using="gin"),
        """,
    )
    + table("to_b = mapped_column(ForeignKey('landing.b.id'))", name="a")
    + table("to_a = mapped_column(ForeignKey('landing.a.id', use_alter=True))", name="b")
    + """
Table("serial", Base.metadata, Column("id", Integer, primary_key=True), schema="landing", prefixes=["UNLOGGED"],
      postgresql_with={"fillfactor": 70}, comment="it's :x 100% \\\\")
Table("Weird %s", Base.metadata, Column("order", Integer, Identity(start=5, increment=2), primary_key=True),
      schema="landing")
"""
)
# Kinds that no other table is likely to have.
RARE = """
Table("parted", Base.metadata, Column("id", Integer, primary_key=True), schema="landing",
      postgresql_partition_by="RANGE (id)")
Table("excluded", Base.metadata, Column("span", INT4RANGE, primary_key=True),
      ExcludeConstraint(("span", "&&"), name="e"), schema="landing")
"""


def change(project: Project, body: str) -> None:
    """Have the change to `body` proposed; a second generation must find nothing."""
    project.write_models(body)
    assert project.generate().revisions
    assert project.generate().revisions == ()


def test_everything_that_can_be_declared_converges_as_new_tables_and_as_new_columns(project: Project) -> None:
    change(project, EVERYTHING)
    project.apply()
    everything = project.facts()
    assert everything.relations["table landing.t"]["column quoted"] == (
        """text DEFAULT '50%: it''s :x \\ "q" {}'''::text"""
    )
    assert everything.relations["table landing.Weird %s"]["column order"].startswith(
        "integer GENERATED BY DEFAULT AS IDENTITY (start 5 increment 2"
    )
    change(project, EMPTY)
    project.apply()
    assert project.facts().tables() == {"landing.t"}
    change(project, EVERYTHING)
    project.apply()
    assert project.facts() == everything
    change(project, EVERYTHING + RARE)
    project.apply()
    assert project.facts().relations["table landing.parted"]["partitioned by"] == "RANGE (id)"
    project.revert("base")
    assert project.facts().relations == {}


BEFORE = HEADER + table(
    """
    wider = mapped_column(String(10))
    number = mapped_column(String(10))
    day = mapped_column(Integer)
    needed = mapped_column(Integer)
    default = mapped_column(Integer)
    changed = mapped_column(Text, server_default="a:b%")
    told = mapped_column(Integer, comment="one")
    collated = mapped_column(String(10))
    other = mapped_column(Integer, unique=True)
    link = mapped_column(ForeignKey("landing.t.id"))
    """,
    arguments="Index('ix_name', 'needed'), ",
)
AFTER = (
    HEADER
    + table(
        """
        wider = mapped_column(String(20))
        number = mapped_column(Integer)
        day = mapped_column(Date)
        needed = mapped_column(Integer, nullable=False)
        default = mapped_column(Integer, server_default="7", index=True)
        changed = mapped_column(Text, server_default="c:d'%")
        told = mapped_column(Integer, comment="two '%:x")
        collated = mapped_column(String(10, collation="C"))
        other = mapped_column(Integer)
        link = mapped_column(ForeignKey("landing.t.id", ondelete="CASCADE"))
        fresh = mapped_column(ForeignKey("landing.u.id"), index=True)
        key = mapped_column(Integer, unique=True)
        """,
        arguments="CheckConstraint('needed > 0', name='needed'), ",
    )
    + table("needed = mapped_column(ForeignKey('landing.t.key'))", name="u", arguments="Index('ix_name', 'needed'), ")
    + table("", name="w").replace('"landing"', '"staging"')
)


def test_every_change_of_a_table_converges_in_both_directions(project: Project) -> None:
    change(project, BEFORE)
    change(project, AFTER)
    change(project, BEFORE)
    project.apply(to=project.chain().revisions[0].revision)
    before = project.facts()
    project.apply()
    assert project.facts() == before
    project.revert("base")
    assert project.facts().relations == {}


def test_a_type_that_changes_in_the_org_is_generated_and_carries_the_values_that_convert(project: Project) -> None:
    project.write_meta(account(Size__c={"type": "string", "length": 10}, Big__c={"type": "int", "digits": 9}))
    project.generate()
    project.apply()
    project.execute("INSERT INTO salesforce.account VALUES ('001', 5, '42')")
    project.write_meta(
        account(Size__c={"type": "double", "precision": 18, "scale": 2}, Big__c={"type": "string", "length": 80})
    )
    head = project.generate().head
    # A number does not keep how it was spelt.
    with pytest.raises(MonarchError, match=r"size__c: 1 value lost in numeric\(18,2\)"):
        project.apply()
    project.apply(allow_data_loss=[str(head)])
    assert project.execute("SELECT size__c, big__c FROM salesforce.account")[0] == (42, "5")
    project.revert(project.chain().revisions[0].revision, allow_data_loss=[str(head)])
    assert project.execute("SELECT size__c, big__c FROM salesforce.account")[0] == ("42.00", 5)
