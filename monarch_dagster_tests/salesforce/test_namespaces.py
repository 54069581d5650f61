"""Namespaces: whose an object or field is, told by its API name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monarch_dagster.salesforce.namespaces import Namespace, count_namespaces, namespace_of
from monarch_dagster.salesforce.object_meta import API_NAME, Field, Object, ObjectMeta

# A name or namespace: no underscore at its end, and no two in a row.
WORDS = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,4}(_[A-Za-z0-9]{1,3})?", fullmatch=True)
SUFFIXES = st.sampled_from(
    ["c", "r", "mdt", "e", "x", "b", "kav", "ka", "pc", "Share", "History", "Feed", "Tag", "ChangeEvent", "dlm", "xo"]
)
PARTS = st.sampled_from(["Latitude", "Longitude", "Street", "City", "PostalCode", "CountryCode", "GeocodeAccuracy"])


@given(WORDS, WORDS, SUFFIXES)
def test_what_stands_before_name_and_suffix_is_the_namespace(namespace: str, name: str, suffix: str) -> None:
    assert namespace_of(f"{namespace}__{name}__{suffix}") == namespace
    assert namespace_of(f"{name}__{suffix}") is None
    assert namespace_of(name) is None


@given(WORDS, WORDS, PARTS)
def test_the_part_of_a_compound_field_is_no_name_of_its_own(namespace: str, name: str, part: str) -> None:
    assert namespace_of(f"{namespace}__{name}__{part}__s") == namespace
    assert namespace_of(f"{name}__{part}__s") is None
    assert namespace_of(f"{name}__{part.lower()}__S") is None


@given(st.from_regex(API_NAME, fullmatch=True))
def test_any_name_has_one_or_none_and_begins_with_it(name: str) -> None:
    found = namespace_of(name)
    assert found is None or (found and name.startswith(f"{found}__"))


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("Account", None),
        ("FeedItem", None),
        ("Gender__pc", None),
        ("Level__c", None),
        ("Level__mdt", None),
        ("Level__History", None),
        ("murali_location__Longitude__s", None),
        ("npe01__HomeEmail__pc", "npe01"),
        ("npsp__Allocation__History", "npsp"),
        ("npsp__Trigger_Handler__c", "npsp"),
        ("CHANNEL_ORDERS__Field_Map__c", "CHANNEL_ORDERS"),
        ("pkg__Help__kav", "pkg"),
        ("pkg__Site__Latitude__s", "pkg"),
        ("a__", None),
        ("a____c", None),
        ("a__b__c__d__e", None),
    ],
)
def test_names_as_orgs_have_them(name: str, namespace: str | None) -> None:
    assert namespace_of(name) == namespace


def test_a_field_counts_by_its_own_name_whatever_object_it_is_on() -> None:
    level = Object(fields=(Field(name="Id"), Field(name="npsp__Amount__c", missing=True)), missing=True)
    contact = Object(fields=(Field(name="Id"), Field(name="Own__c"), Field(name="npe01__HomeEmail__pc", missing=True)))
    meta = ObjectMeta(objects={"npsp__Level__c": level, "Contact": contact})
    assert count_namespaces(meta) == (Namespace("npe01", 0, 1, 1), Namespace("npsp", 1, 1, 2))
