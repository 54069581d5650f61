"""The path: which changes take several revisions, in which order, and what each ends at."""

from __future__ import annotations

import pytest

from monarch_dagster.migrations.hazards import LOCK_BUDGET, locks_of
from monarch_dagster.migrations.planning.path import Leg, path
from monarch_dagster.migrations.planning.plan import plan
from monarch_dagster.migrations.planning.words import Words
from monarch_dagster.schema.facts import Facts, differences
from monarch_dagster_tests.migrations.planning.support import CHANGES, NOTHING, Change, T, U, Workbench


def way(bench: Workbench, before: str, after: str) -> list[Leg]:
    """Return the path between two schemas; it must end where it is to end."""
    found, wanted = bench.facts(before), bench.facts(after)
    legs = path(found, wanted)
    assert legs[-1].end == wanted
    return legs


def steps(legs: list[Leg], found: Facts) -> list[list[str]]:
    """Return what each leg changes, an aspect and what it becomes."""
    told = []
    for leg in legs:
        told.append([f"{item.aspect}: {item.expected or 'gone'}" for item in differences(leg.end, found)])
        found = leg.end
    return told


@pytest.mark.soak
@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("back", [False, True], ids=["up", "down"])
def test_every_leg_is_a_plan_that_runs_and_comes_back(bench: Workbench, change: Change, back: bool) -> None:
    scripts = (change.after, change.before) if back else (change.before, change.after)
    found, wanted = (bench.facts(script) for script in scripts)
    bench.run("CREATE SCHEMA s; " + scripts[0])
    passed = [found]
    for leg in path(found, wanted):
        for facts in leg.through:
            bench.go(passed[-1], facts)
            assert bench.now() == facts
            passed.append(facts)
    assert passed[-1] == wanted
    for facts in reversed(passed[:-1]):
        bench.go(bench.now(), facts)
        assert bench.now() == facts


def test_no_leg_is_empty(bench: Workbench) -> None:
    for change in CHANGES:
        found = bench.facts(change.before)
        assert all(steps(way(bench, change.before, change.after), found)), change
    assert path(found, found) == []


def test_many_indexes_are_built_together_and_few_each_in_a_revision_of_its_own() -> None:
    def tables(count: int, *aspects: str) -> Facts:
        names = (f"t{number:03}" for number in range(count))
        return Facts({f"table s.{name}": {"column a": "integer", **dict.fromkeys(aspects, name)} for name in names})

    few = path(tables(20), tables(20, "index i"))
    assert [leg.concurrent for leg in few] == [True] * 20
    many = path(tables(201), tables(201, "index i"))
    assert [leg.concurrent for leg in many] == [False] * 3
    assert [len(changed) for changed in steps(many, tables(201))] == [100, 100, 1]
    assert many[-1].end == tables(201, "index i")


def test_a_label_of_an_enum_comes_before_what_may_use_it(bench: Workbench) -> None:
    before = "CREATE TYPE s.mood AS ENUM ('sad'); CREATE TABLE s.t (a s.mood DEFAULT 'sad')"
    after = "CREATE TYPE s.mood AS ENUM ('sad', 'ok'); CREATE TABLE s.t (a s.mood DEFAULT 'ok')"
    assert steps(way(bench, before, after), bench.facts(before)) == [
        ["definition: 'sad', 'ok'"],
        ["column a: s.mood DEFAULT 'ok'::s.mood"],
    ]
    alone = after.replace("DEFAULT 'ok'", "DEFAULT 'sad'")
    assert len(way(bench, before, alone)) == 1


@pytest.mark.parametrize(
    ("added", "aspect"),
    [
        ("ALTER TABLE s.t ADD CONSTRAINT c CHECK (a > 0)", "constraint c: CHECK ((a > 0))"),
        (
            "ALTER TABLE s.t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES s.u (k)",
            "constraint c: FOREIGN KEY (a) REFERENCES s.u(k)",
        ),
    ],
    ids=["check", "foreign key"],
)
def test_a_constraint_is_added_unchecked_and_validated_in_a_later_transaction(
    bench: Workbench, added: str, aspect: str
) -> None:
    assert steps(way(bench, T + U, T + U + added), bench.facts(T + U)) == [[f"{aspect} NOT VALID"], [aspect]]


def test_one_that_is_to_stay_unchecked_is_added_at_once(bench: Workbench) -> None:
    assert len(way(bench, T, T + "ALTER TABLE s.t ADD CONSTRAINT c CHECK (a > 0) NOT VALID")) == 1


def test_not_null_is_set_when_a_validated_check_has_proven_it(bench: Workbench) -> None:
    legs = way(bench, T, T.replace("a integer", "a integer NOT NULL"))
    check = "constraint monarch_a_not_null: CHECK ((a IS NOT NULL))"
    assert steps(legs, bench.facts(T)) == [
        [f"{check} NOT VALID"],
        ["column a: integer NOT NULL", "constraint monarch_a_not_null: gone"],
    ]
    proven, end = legs[1].through
    assert proven.relations["table s.t"]["constraint monarch_a_not_null"] == "CHECK ((a IS NOT NULL))"
    # Then no row is read to set it.
    assert not [hazard for item in plan(proven, end, Words(end)) for hazard in item.hazards]


@pytest.mark.parametrize(
    "after",
    [
        "CREATE TABLE s.t (id bigint PRIMARY KEY, a integer NOT NULL, b text, c integer NOT NULL)",
        "CREATE TABLE s.t (id bigint PRIMARY KEY, a integer GENERATED ALWAYS AS IDENTITY, b text, c integer)",
        "CREATE TABLE s.t (id bigint, a integer PRIMARY KEY, b text, c integer)",
    ],
    ids=["a column that is new", "an identity", "a new primary key"],
)
def test_where_a_check_proves_nothing_there_is_none(bench: Workbench, after: str) -> None:
    before = "CREATE TABLE s.t (id bigint PRIMARY KEY, a integer NOT NULL, b text)"
    if "IDENTITY" in after or "a integer PRIMARY" in after:
        before = "CREATE TABLE s.t (id bigint PRIMARY KEY, a integer, b text, c integer)"
    told = steps(way(bench, before, after), bench.facts(before))
    assert "_not_null" not in str(told)


def test_indexes_are_built_while_others_write_each_in_a_revision_of_its_own(bench: Workbench) -> None:
    legs = way(
        bench, T, T.replace("b text", "b text, c int") + "CREATE INDEX i ON s.t (a); CREATE UNIQUE INDEX j ON s.t (b)"
    )
    assert [leg.concurrent for leg in legs] == [False, True, True]
    assert [len(changes) for changes in steps(legs, bench.facts(T))] == [1, 1, 1]


def test_a_comment_waits_for_what_it_is_on(bench: Workbench) -> None:
    commented = "CREATE INDEX i ON s.t (a); ALTER TABLE s.t ADD CONSTRAINT u UNIQUE (b); "
    commented += "COMMENT ON INDEX s.i IS 'x'; COMMENT ON CONSTRAINT u ON s.t IS 'y'"
    told = steps(way(bench, T, T + commented), bench.facts(T))
    assert [[item for item in leg if item.startswith("comment")] for leg in told] == [
        [],
        [],
        ["comment on constraint u: y", "comment on index i: x"],
    ]


def test_a_unique_constraint_takes_over_an_index_that_was_built_before(bench: Workbench) -> None:
    legs = way(bench, T, T + "ALTER TABLE s.t ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (a) INCLUDE (b)")
    assert [leg.concurrent for leg in legs] == [True, False]
    index = "CREATE UNIQUE INDEX u ON s.t USING btree (a) INCLUDE (b) NULLS NOT DISTINCT"
    assert legs[0].end.relations["table s.t"]["index u"] == index
    (attach,) = plan(legs[0].end, legs[1].end, Words(legs[1].end))
    assert "USING INDEX u" in str(attach.actions)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (T + "CREATE TABLE s.c (t integer)", T + "CREATE TABLE s.c (t integer REFERENCES s.t (a))"),
        (T, T + "ALTER TABLE s.t ADD UNIQUE (a) DEFERRABLE"),
    ],
    ids=["a foreign key needs it", "its index checks later"],
)
def test_a_unique_constraint_that_must_be_there_whole_is_added_at_once(
    bench: Workbench, before: str, after: str
) -> None:
    whole = after if "DEFERRABLE" in after else T + "ALTER TABLE s.t ADD UNIQUE (a); " + after.removeprefix(T)
    legs = way(bench, before, whole)
    assert not any(leg.concurrent for leg in legs)
    assert "constraint t_a_key" in legs[0].end.relations["table s.t"]


def test_what_is_new_is_nobodys_and_takes_one_revision(bench: Workbench) -> None:
    table = (
        "CREATE TABLE s.t (a integer NOT NULL UNIQUE CHECK (a > 0), b integer REFERENCES s.u (k)); "
        "CREATE INDEX i ON s.t (b)"
    )
    for before in ("", U):
        (leg,) = way(bench, before, U + table)
        assert not leg.concurrent


def test_on_a_partitioned_table_there_is_no_weaker_form_but_for_checks(bench: Workbench) -> None:
    before = U + "CREATE TABLE s.t (a integer NOT NULL, b integer) PARTITION BY RANGE (a); "
    after = before + (
        "CREATE INDEX i ON s.t (b); ALTER TABLE s.t ADD UNIQUE (a); "
        "ALTER TABLE s.t ADD FOREIGN KEY (b) REFERENCES s.u (k)"
    )
    assert len(way(bench, before, after)) == 1
    checked = way(bench, before, before + "ALTER TABLE s.t ADD CONSTRAINT c CHECK (b > 0)")
    assert [leg.concurrent for leg in checked] == [False, False]


def many(count: int) -> Facts:
    """Return tables that each refer to the one before, and the first to the last."""
    relations = {"schema s": {}}
    for number in range(count):
        target = f"FOREIGN KEY (up) REFERENCES s.t{(number or count) - 1:04}(id)"
        relations[f"table s.t{number:04}"] = {
            "persistence": "permanent",
            "column id": "bigint NOT NULL",
            "column up": "bigint",
            "constraint fk": target,
            f"constraint pk{number}": "PRIMARY KEY (id)",
        }
    return Facts(relations)


def test_more_tables_than_a_transaction_can_lock_are_created_in_several_in_an_order_that_works() -> None:
    wanted = many(1500)
    legs = path(NOTHING, wanted)
    assert len(legs) == 2
    assert 4 * len(legs[0].end.tables()) <= LOCK_BUDGET < 4 * len(wanted.tables())
    assert legs[-1].end == wanted
    # Each with its keys, but for the one that closes the circle.
    keyless = [
        name for name, aspects in legs[0].end.relations.items() if "table" in name and "constraint fk" not in aspects
    ]
    assert keyless == ["table s.t0000"]
    assert [len(leg.through) for leg in legs] == [1, 1]


def test_the_tables_of_a_package_are_not_divided_where_they_need_not_be(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*(f"a{number}__c" for number in range(5)), *(f"pkg__{number}__c" for number in range(6))]
    table = {"persistence": "permanent", "column id": "bigint NOT NULL"}
    # Room for eight tables: three of the package would fit behind the others.
    monkeypatch.setattr("monarch_dagster.migrations.planning.path.LOCK_BUDGET", 8 * locks_of(table))
    wanted = Facts({"schema s": {}, **{f"table s.{name}": table for name in names}})
    first, second = path(NOTHING, wanted)
    assert first.end.tables() == {f"s.{name}" for name in names[:5]}
    assert second.end == wanted


def test_a_proposal_of_many_tables_runs_leg_by_leg(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monarch_dagster.migrations.planning.path.LOCK_BUDGET", 20)
    wanted, here = many(12), NOTHING
    legs = path(here, wanted)
    assert len(legs) > 2
    for leg in legs:
        bench.go(here, leg.end)
        here = bench.now()
        assert here == leg.end
    for leg in reversed([Leg((NOTHING,)), *legs[:-1]]):
        bench.go(here, leg.end)
        here = bench.now()
        assert here == leg.end
