"""Transitions of primary keys and foreign keys."""

from __future__ import annotations

from typing import Any, Final

from monarch_dagster_tests.migrations.corpus.declare import core, table
from monarch_dagster_tests.migrations.corpus.transition import KEPT, Transition

ROWS = "INSERT INTO landing.t (a, b) VALUES (1, 1), (2, 1)"
KEEPS = {"SELECT a, b FROM landing.t ORDER BY a": [(1, 1), (2, 1)]}


def keyed(*more: str, null: bool = False) -> str:
    """Return a table with the columns a and b and no key but what `more` declares."""
    null_b = "" if null else ", nullable=False"
    return core("t", "Column('a', Integer, nullable=False)", f"Column('b', Integer{null_b})", *more)


def changed(name: str, before: str, after: str, **more: Any) -> Transition:
    """Return the change of a table's key, with two rows in it."""
    return Transition(name, before, after, **{"rows": ROWS, "keeps": KEEPS, "restores": KEEPS, **more})


PK_A = "PrimaryKeyConstraint('a', name='pk_t')"
PK_AB = "PrimaryKeyConstraint('a', 'b', name='pk_t')"
PRIMARY: Final = [
    changed("a primary key is added", keyed(), keyed(PK_A), hazards=["lock"]),
    changed("a primary key is added to a column that was nullable", keyed(null=True), keyed(PK_AB)),
    changed(
        "a primary key that rows do not meet is added", keyed(), keyed("PrimaryKeyConstraint('b')"), blocked="duplicat"
    ),
    changed("a primary key is dropped", keyed(PK_A), keyed()),
    changed("a primary key is dropped and its column may be null", keyed(PK_AB), keyed(null=True)),
    changed("a primary key has another column", keyed(PK_A), keyed("PrimaryKeyConstraint('b', 'a', name='pk_t')")),
    changed("a primary key grows by a column", keyed(PK_A), keyed(PK_AB)),
    changed("a primary key shrinks by a column", keyed(PK_AB), keyed(PK_A)),
    changed(
        "a primary key has its columns in another order",
        keyed(PK_AB),
        keyed("PrimaryKeyConstraint('b', 'a', name='pk_t')"),
    ),
    changed("a primary key is renamed", keyed(PK_A), keyed("PrimaryKeyConstraint('a', name='t_key')")),
    changed(
        "a primary key includes a column",
        keyed(PK_A),
        keyed("PrimaryKeyConstraint('a', name='pk_t', postgresql_include=['b'])"),
    ),
    changed("a primary key becomes a unique constraint", keyed(PK_A), keyed("UniqueConstraint('a')")),
    changed(
        "a primary key becomes deferrable",
        keyed(PK_A),
        keyed("PrimaryKeyConstraint('a', name='pk_t', deferrable=True)"),
    ),
]
REFERRED_ROWS = "INSERT INTO landing.u (id, code) VALUES (7, 9); INSERT INTO landing.t (u_id) VALUES (7), (NULL)"
REFERRED_KEEPS = {"SELECT u_id FROM landing.t ORDER BY id": [(7,), (None,)]}
PLAIN_KEY = "id: Mapped[int] = mapped_column({}, primary_key=True, autoincrement=False)"


def pair(u_key: str, *t: str, u: tuple[str, ...] = ("code Integer, nullable=False",)) -> str:
    """Return a table u with this key, and t that may refer to it."""
    return table("u", *u, key=u_key) + table("t", *t)


INT_KEY, BIG_KEY = PLAIN_KEY.format("Integer"), PLAIN_KEY.format("BigInteger")
LINK = "u_id Integer, ForeignKey('landing.u.id')"
REFERRED: Final = [
    Transition(
        "a key and what refers to it become bigint",
        pair(INT_KEY, LINK),
        pair(BIG_KEY, LINK.replace("Integer", "BigInteger")),
        rows=REFERRED_ROWS,
        keeps=REFERRED_KEEPS,
        restores=REFERRED_KEEPS,
        hazards=["rewrite"],
    ),
    Transition(
        "a key that others refer to is renamed",
        table("u", "code Integer", "PrimaryKeyConstraint('id', name='old')", key="id = mapped_column(Integer)")
        + table("t", LINK),
        table("u", "code Integer", "PrimaryKeyConstraint('id', name='new')", key="id = mapped_column(Integer)")
        + table("t", LINK),
        rows=REFERRED_ROWS,
        keeps=REFERRED_KEEPS,
    ),
    Transition(
        "a key that others refer to gets another column, and they go by it",
        pair(INT_KEY, LINK),
        pair(
            "id: Mapped[int] = mapped_column(Integer)",
            "u_id Integer, ForeignKey('landing.u.code')",
            u=("code Integer, primary_key=True, autoincrement=False",),
        ),
        rows=REFERRED_ROWS.replace("9", "7"),
        keeps=REFERRED_KEEPS,
    ),
    Transition(
        "a key grows under a foreign key, which goes by a unique constraint from then on",
        core("u", "Column('a', Integer, primary_key=True)", "Column('b', Integer, nullable=False)")
        + table("t", "u_a Integer, ForeignKey('landing.u.a')"),
        core(
            "u",
            "Column('a', Integer, primary_key=True)",
            "Column('b', Integer, primary_key=True)",
            "UniqueConstraint('a')",
        )
        + table("t", "u_a Integer, ForeignKey('landing.u.a')"),
        rows="INSERT INTO landing.u VALUES (1, 2); INSERT INTO landing.t (u_a) VALUES (1)",
        keeps={"SELECT u_a FROM landing.t": [(1,)]},
    ),
]


def linked(*t: str) -> str:
    """Return a table u with two unique columns, and t with what may refer to it."""
    u = table(
        "u",
        "code Integer, nullable=False",
        "part Integer, nullable=False",
        "UniqueConstraint('code')",
        "UniqueConstraint('code', 'part')",
        key=BIG_KEY,
    )
    return u + table("t", "u_id BigInteger", "code Integer", "part Integer", *t)


LINK_ROWS = (
    "INSERT INTO landing.u (id, code, part) VALUES (7, 9, 1), (9, 7, 1); "
    "INSERT INTO landing.t (u_id, code, part) VALUES (7, 9, 1), (NULL, NULL, NULL)"
)
LINK_KEEPS = {"SELECT u_id, code, part FROM landing.t ORDER BY id": [(7, 9, 1), (None, None, None)]}
FK = "ForeignKeyConstraint(['u_id'], ['landing.u.id'], name='fk'{})"
COMPOSITE = "ForeignKeyConstraint(['code', 'part'], ['landing.u.code', 'landing.u.part'], name='fk'{})"


def relinked(name: str, before: str, after: str, **more: Any) -> Transition:
    """Return the change of a foreign key, "" for none, with rows in both tables."""
    bodies = [linked(*filter(None, [item])) for item in (before, after)]
    return Transition(name, *bodies, **{"rows": LINK_ROWS, "keeps": LINK_KEEPS, "restores": LINK_KEEPS, **more})


FOREIGN: Final = [
    relinked("a foreign key is added", "", FK.format(""), hazards=["scan"]),
    relinked(
        "a foreign key that rows do not meet is added",
        "",
        FK.format(""),
        rows="INSERT INTO landing.t (u_id, code, part) VALUES (8, 8, 8)",
        restores={},
        keeps={},
        blocked="violates foreign key",
    ),
    relinked("a foreign key is dropped", FK.format(""), ""),
    relinked(
        "a foreign key cascades",
        FK.format(""),
        FK.format(", ondelete='CASCADE'"),
        works=["DELETE FROM landing.u WHERE id = 7"],
    ),
    relinked("a foreign key cascades no longer", FK.format(", ondelete='CASCADE', onupdate='CASCADE'"), FK.format("")),
    relinked(
        "a foreign key sets null instead of its default",
        FK.format(", ondelete='SET DEFAULT'"),
        FK.format(", ondelete='SET NULL', onupdate='RESTRICT'"),
    ),
    relinked(
        "a composite foreign key sets one column to null",
        COMPOSITE.format(""),
        COMPOSITE.format(", ondelete='SET NULL (part)'"),
    ),
    relinked("a foreign key becomes deferrable", FK.format(""), FK.format(", deferrable=True, initially='DEFERRED'")),
    relinked(
        "a foreign key is deferrable no longer", FK.format(", deferrable=True, initially='IMMEDIATE'"), FK.format("")
    ),
    relinked(
        "a foreign key is deferred from the start",
        FK.format(", deferrable=True"),
        FK.format(", deferrable=True, initially='DEFERRED'"),
    ),
    relinked("a foreign key matches in full", COMPOSITE.format(""), COMPOSITE.format(", match='FULL'")),
    relinked("a foreign key is renamed", FK.format(""), FK.format("").replace("'fk'", "'other'")),
    relinked("a foreign key gets another target", FK.format(""), FK.format("").replace("u.id", "u.code")),
    relinked(
        "a foreign key becomes composite",
        "ForeignKeyConstraint(['code'], ['landing.u.code'], name='fk')",
        COMPOSITE.format(""),
    ),
    relinked(
        "a second foreign key is added beside the first",
        FK.format(""),
        FK.format("") + ", " + COMPOSITE.format("").replace("'fk'", "'fk2'"),
    ),
    Transition(
        "a foreign key goes to another table",
        table("u") + table("v") + table("t", "x BigInteger, ForeignKey('landing.u.id', name='fk')"),
        table("u") + table("v") + table("t", "x BigInteger, ForeignKey('landing.v.id', name='fk')"),
        rows="INSERT INTO landing.u DEFAULT VALUES; INSERT INTO landing.v DEFAULT VALUES; "
        "INSERT INTO landing.t (x) VALUES (1)",
        keeps={"SELECT x FROM landing.t": [(1,)]},
    ),
    Transition(
        "a table refers to itself from now on",
        table("t", "parent BigInteger"),
        table("t", "parent BigInteger, ForeignKey('landing.t.id', ondelete='CASCADE'), index=True"),
        rows="INSERT INTO landing.t (parent) VALUES (NULL), (1), (2)",
        keeps={"SELECT parent FROM landing.t ORDER BY id": [(None,), (1,), (2,)]},
    ),
    Transition(
        "a cycle is closed between tables that are there",
        table("a", "b_id BigInteger, ForeignKey('landing.b.id')") + table("b", "a_id BigInteger"),
        table("a", "b_id BigInteger, ForeignKey('landing.b.id')")
        + table("b", "a_id BigInteger, ForeignKey('landing.a.id', use_alter=True)"),
        rows="INSERT INTO landing.b DEFAULT VALUES; INSERT INTO landing.a (b_id) VALUES (1); "
        "UPDATE landing.b SET a_id = 1",
        keeps={"SELECT a_id FROM landing.b": [(1,)]},
    ),
    Transition(
        "a column that refers to a new table is added",
        table("t"),
        table("t", "u_id ForeignKey('landing.u.id'), index=True") + table("u"),
        rows="INSERT INTO landing.t DEFAULT VALUES",
        keeps={"SELECT count(*) FROM landing.t": [(1,)]},
    ),
    Transition(
        "a referred table is dropped with the column that refers to it",
        table("t", "u_id ForeignKey('landing.u.id'), index=True") + table("u"),
        table("t"),
        rows="INSERT INTO landing.u DEFAULT VALUES; INSERT INTO landing.t (u_id) VALUES (1)",
        keeps={"SELECT count(*) FROM landing.t": [(1,)]},
        loses="up",
    ),
    Transition(
        "a referred table is dropped, the column stays",
        table("t", "u_id BigInteger, ForeignKey('landing.u.id')") + table("u"),
        table("t", "u_id BigInteger"),
        rows="INSERT INTO landing.t (u_id) VALUES (NULL)",
        keeps={"SELECT u_id FROM landing.t": [(None,)]},
    ),
    Transition(
        "a foreign key goes across schemas",
        table("t", "u_id BigInteger") + table("u", schema="staging"),
        table("t", "u_id BigInteger, ForeignKey('staging.u.id')") + table("u", schema="staging"),
        rows="INSERT INTO staging.u DEFAULT VALUES; INSERT INTO landing.t (u_id) VALUES (1), (NULL)",
        keeps={"SELECT u_id FROM landing.t ORDER BY id": [(1,), (None,)]},
    ),
    Transition(
        "a foreign key to what is nowhere declared is refused",
        KEPT,
        KEPT + table("t", "x BigInteger, ForeignKey('landing.nowhere.id')"),
        refused=r"landing\.t\.x",
    ),
]
KEYS: Final = [*PRIMARY, *REFERRED, *FOREIGN]
