"""Names: short enough for PostgreSQL, the same for everyone, and no two alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monarch_dagster.errors import MonarchError
from monarch_dagster.schema.naming import check_schema_name, shorten, sql_name

API_NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,120}", fullmatch=True)


@given(API_NAMES)
def test_no_name_is_longer_than_postgresql_keeps(name: str) -> None:
    assert len(sql_name(name).encode()) <= 63


@given(API_NAMES)
def test_a_name_that_fits_is_only_put_in_lower_case(name: str) -> None:
    assert (sql_name(name) == name.lower()) == (len(name) <= 63)


@given(st.sets(API_NAMES.map(str.lower), min_size=2, max_size=20), st.text("ab_", min_size=60, max_size=80))
def test_distinct_names_stay_distinct_though_they_begin_alike(names: set[str], start: str) -> None:
    long = {start + name for name in names} | names
    assert len({shorten(name) for name in long}) == len(long)


def test_shortening_is_the_same_in_every_release() -> None:
    name = "npsp__Batch_Data_Import_Match_Confidence_Threshold_Location__Longitude__s"
    assert sql_name(name) == "npsp__batch_data_import_match_confidence_threshold_loc_" + sql_name(name)[-8:]
    assert sql_name("a" * 64) == "a" * 54 + "_ffe054fe"


@pytest.mark.parametrize("name", ["landing", "_x", "a" * 63, "salesforce2"])
def test_a_plain_name_can_be_a_managed_schema(name: str) -> None:
    assert check_schema_name(name, "X") == name


@pytest.mark.parametrize(
    "name",
    ["", "Landing", "a b", 'a"b', "a" * 64, "1a", "pg_x", "alembic", "public", "information_schema", "ä", "a\n"],
)
def test_a_name_that_is_reserved_or_needs_quotes_cannot(name: str) -> None:
    with pytest.raises(MonarchError, match=r"MONARCH_X is .* which cannot be the name of a schema"):
        check_schema_name(name, "MONARCH_X")
