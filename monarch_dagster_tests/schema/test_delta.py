"""A change done once more to other facts: what is merged, what wins, and what does not come back."""

import pytest

from monarch_dagster.schema.delta import apply_delta, spelled, unsaid
from monarch_dagster.schema.facts import Aspects, Facts

TABLE = {"column id": "bigint NOT NULL", "column a": "character varying(10)"}
THERE: dict[str, Aspects] = {"schema s": {}, "table s.t": TABLE}


def facts(**aspects: str | None) -> Facts:
    """Return the facts of a table with these columns beside its own; None drops one."""
    columns = {name: value for name, value in aspects.items() if value is not None}
    gone = {f"column {name}" for name, value in aspects.items() if value is None}
    table = {name: value for name, value in TABLE.items() if name not in gone}
    return Facts({**THERE, "table s.t": table | {f"column {name}": value for name, value in columns.items()}})


def enum(labels: str) -> Facts:
    """Return the facts of an enum type with these labels, a letter each."""
    return Facts({"schema s": {}, "enum s.e": {"definition": ", ".join(f"'{label}'" for label in labels)}})


def test_done_to_the_facts_before_it_a_change_comes_to_those_after_it() -> None:
    before, after = facts(), Facts({"schema s": {}, "schema x": {}, "table x.t": TABLE, "table s.t": {"comment": "c"}})
    assert apply_delta(before, before, after) == after
    assert apply_delta(after, after, before) == before
    assert apply_delta(after, before, after) == after


def test_what_each_side_adds_stands_beside_the_other() -> None:
    assert apply_delta(facts(b="text"), facts(), facts(c="text")) == facts(b="text", c="text")
    assert apply_delta(facts(a=None), facts(), facts(c="text")) == facts(a=None, c="text")


@pytest.mark.parametrize(
    ("now", "after", "merged"),
    [
        ("text", "character varying(10) NOT NULL", "text NOT NULL"),
        ("character varying(10) DEFAULT 'x'::text", "text NOT NULL", "text DEFAULT 'x'::text NOT NULL"),
        ("text NOT NULL", 'text COLLATE "C" DEFAULT 1', 'text COLLATE "C" DEFAULT 1 NOT NULL'),
        ("text", "character varying(20)", "character varying(20)"),
    ],
    ids=["null", "type", "default", "both, and ours wins"],
)
def test_a_column_is_merged_by_its_parts(now: str, after: str, merged: str) -> None:
    assert apply_delta(facts(a=now), facts(), facts(a=after)) == facts(a=merged)


@pytest.mark.parametrize(
    ("now", "before", "after", "merged"),
    [
        ("abx", "ab", "aby", "abxy"),
        ("abx", "ab", "yab", "yabx"),
        ("abx", "ab", "ayzb", "ayzbx"),
        ("abx", "ab", "a", "ax"),
        ("b", "ab", "abyz", "byz"),
        ("abx", "ab", "abyx", "abyx"),
        ("abx", "ab", "ba", "bax"),
    ],
)
def test_an_enum_is_merged_by_its_labels(now: str, before: str, after: str, merged: str) -> None:
    found = apply_delta(enum(now), enum(before), enum(after))
    assert found == enum(merged)


def test_a_label_may_hold_what_looks_like_two() -> None:
    definitions = ["'it''s, so', 'b'", "'it''s, so'", "'it''s, so', 'c, d'"]
    now, before, after = (Facts({"enum s.e": {"definition": text}}) for text in definitions)
    assert apply_delta(now, before, after).relations["enum s.e"]["definition"] == "'it''s, so', 'b', 'c, d'"


def test_what_the_other_side_dropped_is_not_changed_and_does_not_come_back() -> None:
    assert apply_delta(facts(a=None), facts(), facts(a="text")) == facts(a=None)
    nothing = Facts({"schema s": {}})
    assert apply_delta(nothing, facts(), facts(a="text")) == nothing


def test_what_this_side_drops_goes_whatever_the_other_made_of_it() -> None:
    assert apply_delta(facts(a="text"), facts(), facts(a=None)) == facts(a=None)
    assert apply_delta(facts(b="text"), facts(), Facts({"schema s": {}})).relations.keys() == {"schema s"}


def test_a_schema_stays_or_comes_back_for_what_stands_in_it() -> None:
    nothing = Facts({})
    assert apply_delta(Facts({**THERE, "table s.u": {}}), Facts(THERE), nothing) == Facts(
        {"schema s": {}, "table s.u": {}}
    )
    assert apply_delta(nothing, Facts({"schema s": {}}), Facts({"schema s": {}, "table s.u": {}})).schemas() == {"s"}


def test_a_view_is_used_as_the_side_says_whose_definition_it_has() -> None:
    def view(text: str, column: str) -> Facts:
        return Facts({"view s.v": {"definition": text}}, {"view s.v": frozenset({("table s.t", column)})})

    merged = apply_delta(view("one", "a"), view("one", "a"), view("two", "b"))
    assert merged.dependencies == view("two", "b").dependencies
    assert (
        apply_delta(view("other", "c"), view("one", "a"), view("one", "a")).dependencies == view("", "c").dependencies
    )


def test_definitions_are_spelled_as_the_models_have_them_and_nothing_comes_or_goes_by_that() -> None:
    found, models = facts(b="text"), facts(a="text", c="text")
    assert spelled(found, models, ["table s.t"]) == facts(a="text", b="text")
    assert spelled(found, models, ["table s.u"]) == found


def test_what_the_models_do_not_say_so_is_told_by_relation_and_aspect() -> None:
    assert unsaid(facts(b="text"), facts(a="text", c="text")) == {
        ("table s.t", "column a"),
        ("table s.t", "column b"),
        ("table s.t", "column c"),
    }
    carried = Facts({**THERE, "table s.t": {**TABLE, "trigger x": "…"}})
    assert unsaid(carried, facts()) == frozenset()
