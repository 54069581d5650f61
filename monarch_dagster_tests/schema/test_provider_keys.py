"""Indexes and foreign keys of the provider's tables: by rule, and where a person asks."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import MetaData, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.salesforce.object_meta import ObjectMeta
from monarch_dagster.schema.desired import Desired, ddl
from monarch_dagster.schema.facts import Facts, read_facts
from monarch_dagster.schema.naming import LONGEST_NAME
from monarch_dagster.schema.provider import add_provider_tables
from monarch_dagster.schema.provider_keys import MOST_INDEXED_CHARACTERS

STRING = {"type": "string", "length": 40}
EXTERNAL = {**STRING, "externalId": True}
UNIQUE = {**EXTERNAL, "unique": True}
DELETED = {"IsDeleted": {"type": "boolean"}}


def entry(**fields: dict[str, Any]) -> dict[str, Any]:
    described = [{"name": name, **keys} for name, keys in fields.items()]
    return {"fields": [{"name": "Id", "type": "id", "length": 18}, *described]}


def lookup(*targets: str, length: int = 18, **choices: Any) -> dict[str, Any]:
    return {"type": "reference", "length": length, "referenceTo": targets, "choices": choices}


def desired(**objects: dict[str, Any]) -> Desired:
    metadata = MetaData()
    meta = ObjectMeta.model_validate({"objects": objects})
    provider = add_provider_tables(metadata, meta, "s", "meta.json")
    return Desired(metadata, ("s",), provider, meta=meta)


def facts(shadows: ShadowServer, **objects: dict[str, Any]) -> Facts:
    """Return the facts that PostgreSQL comes to."""
    with shadows.clone(None) as url, connect(url) as connection:
        run_script(connection, ";\n".join(ddl(desired(**objects))))
        return read_facts(connection, ["s"])


def owned(found: Facts, table: str) -> dict[str, str]:
    """Return the indexes and keys of a table beside its primary key, without what all definitions begin with."""
    return {
        name.partition(" ")[2]: value.partition(" USING btree ")[2] or value
        for name, value in found.relations[f"table s.{table}"].items()
        if name.startswith(("index ", "constraint ")) and not value.startswith("PRIMARY KEY")
    }


def test_external_ids_and_the_time_of_the_last_change_are_indexed(shadows: ShadowServer) -> None:
    found = facts(
        shadows,
        T=entry(
            **DELETED,
            Any__c=STRING,
            One__c=EXTERNAL,
            Two__c=UNIQUE,
            Three__c={**UNIQUE, "caseSensitive": True},
            Four__c={**UNIQUE, "type": "double", "precision": 18},
            Five__c={**UNIQUE, "missing": True},
            Six__c={**STRING, "unique": True},
            SystemModstamp={"type": "datetime"},
            Owner=lookup("T"),
        ),
        Hard=entry(Two__c=UNIQUE),
    )
    live = " WHERE (isdeleted IS NOT TRUE)"
    assert owned(found, "t") == {
        "ix_t_one__c": "(one__c)",
        "ix_t_systemmodstamp": "(systemmodstamp)",
        "uq_t_five__c": f"(lower((five__c)::text)){live}",
        "uq_t_four__c": f"(four__c){live}",
        "uq_t_three__c": f"(three__c){live}",
        "uq_t_two__c": f"(lower((two__c)::text)){live}",
    }
    assert owned(found, "hard") == {"uq_hard_two__c": "(lower((two__c)::text))"}


def test_a_person_decides_about_an_index(shadows: ShadowServer) -> None:
    found = facts(
        shadows,
        T=entry(
            Not__c={**UNIQUE, "choices": {"index": False}},
            Yes__c={**STRING, "choices": {"index": True}},
            Owner=lookup("T", index=True),
            Order=lookup("T", "U", index=True),
            SystemModstamp={"type": "datetime", "choices": {"index": False}},
        ),
    )
    assert owned(found, "t") == {"ix_t_order": '("order")', "ix_t_owner": "(owner)", "ix_t_yes__c": "(yes__c)"}


def test_a_deleted_record_leaves_its_unique_value_to_another_one(shadows: ShadowServer) -> None:
    with shadows.clone(None) as url, connect(url) as connection:
        run_script(connection, ";\n".join(ddl(desired(T=entry(**DELETED, Two__c=UNIQUE)))))
        run_script(connection, "INSERT INTO s.t (id, isdeleted, two__c) VALUES (1, true, 'a'), (2, true, 'A')")
        run_script(connection, "INSERT INTO s.t (id, isdeleted, two__c) VALUES (3, false, 'a')")
        with pytest.raises(exc.IntegrityError, match="uq_t_two__c"):
            run_script(connection, "INSERT INTO s.t (id, two__c) VALUES (4, 'A')")


def test_a_key_is_asked_for_checked_at_the_end_and_not_for_rows_that_are_there(shadows: ShadowServer) -> None:
    meta = {
        "T": entry(Parent=lookup("T", foreign_key=True), U__c=lookup("U", foreign_key=True, index=False)),
        "U": entry(T__c=lookup("t", foreign_key=True), Plain__c=lookup("T")),
    }
    found = facts(shadows, **meta)
    said = "DEFERRABLE INITIALLY DEFERRED NOT VALID"
    assert owned(found, "t") == {
        "fk_t_parent_t": f"FOREIGN KEY (parent) REFERENCES s.t(id) {said}",
        "fk_t_u__c_u": f"FOREIGN KEY (u__c) REFERENCES s.u(id) {said}",
        "ix_t_parent": "(parent)",
    }
    assert owned(found, "u") == {
        "fk_u_t__c_t": f"FOREIGN KEY (t__c) REFERENCES s.t(id) {said}",
        "ix_u_t__c": "(t__c)",
    }
    with shadows.clone(None) as url, connect(url) as connection:
        run_script(connection, ";\n".join(ddl(desired(**meta))))
        # In any order within a transaction, and in a circle.
        run_script(connection, "INSERT INTO s.t VALUES ('1', '2', '3'), ('2', '1', NULL); INSERT INTO s.u VALUES ('3')")
        connection.commit()
        run_script(connection, "UPDATE s.u SET t__c = 'nobody'")
        with pytest.raises(exc.IntegrityError, match="fk_u_t__c_t"):
            connection.commit()


@pytest.mark.parametrize(
    ("field", "told"),
    [
        (lookup("T", "U", foreign_key=True), r"it refers to one of 2 objects \(T, U\), and a foreign key has one"),
        (lookup(*"ABCDEFG", foreign_key=True), r"it refers to one of 7 objects \(A, B, C, D, E, …\)"),
        (lookup("Away", foreign_key=True), r"it refers to Away, which is not in the file\..*fetch Away too"),
        (lookup("U", length=40, foreign_key=True), "it refers to U by a key of 40 characters and not by its Id"),
        (lookup(foreign_key=True), r"it is no lookup to an object \(its type is reference\)"),
        ({**STRING, "choices": {"foreign_key": True}}, r"it is no lookup to an object \(its type is string\)"),
        (lookup("U", foreign_key=True, column_type="uuid"), r"its type is UUID, and that of U\.Id VARCHAR\(18\)"),
    ],
    ids=["two targets", "many targets", "outside", "by another key", "no target", "a string", "another type"],
)
def test_a_key_that_cannot_be_had_is_refused_by_object_field_and_target(field: dict[str, Any], told: str) -> None:
    with pytest.raises(MonarchError, match=rf"(?s)T\.Some__c in meta\.json has choices\.foreign_key, but {told}"):
        desired(T=entry(Some__c=field), U=entry())


def test_a_key_follows_an_object_that_is_renamed(shadows: ShadowServer) -> None:
    gone = {**entry(), "missing": True}
    new = {**entry(), "choices": {"renamed_from": "Old__c"}}
    found = facts(shadows, Old__c=gone, New__c=new, T=entry(At__c=lookup("Old__c", foreign_key=True)))
    assert owned(found, "t")["fk_t_at__c_new__c"].startswith("FOREIGN KEY (at__c) REFERENCES s.new__c(id)")


def test_an_index_that_values_may_not_fit_is_refused_or_left_out_with_a_warning(shadows: ShadowServer) -> None:
    long = {"type": "textarea", "length": 32000}
    with pytest.raises(MonarchError, match=r"T\.Long__c: TEXT may hold values that are longer than an index takes"):
        desired(T=entry(Long__c={**long, "choices": {"index": True}}))
    assert desired(T=entry(Ext__c={**EXTERNAL, "length": 0})).warnings == (
        "T.Ext__c: TEXT may hold values that are longer than an index takes; its external id has no index",
    )
    chosen = {"index": True, "column_type": f"varchar({MOST_INDEXED_CHARACTERS})"}
    with shadows.clone(None) as url, connect(url) as connection:
        run_script(connection, ";\n".join(ddl(desired(T=entry(Long__c={**long, "choices": chosen})))))
        widest = "(SELECT string_agg(chr(65536 + (random() * 60000)::int), '') FROM generate_series(1, {}))"
        run_script(connection, f"INSERT INTO s.t VALUES ('1', {widest.format(MOST_INDEXED_CHARACTERS)})")
        run_script(connection, "ALTER TABLE s.t ALTER long__c TYPE text")
        with pytest.raises(exc.DBAPIError, match="index row size"):
            run_script(connection, f"INSERT INTO s.t VALUES ('2', {widest.format(MOST_INDEXED_CHARACTERS + 2)})")


def test_names_are_short_enough_and_different_whatever_objects_are_called(shadows: ShadowServer) -> None:
    long = "L" + "o" * 60 + "__c"
    clashing = {
        "A": entry(B_c=EXTERNAL),
        "A_b": entry(C=EXTERNAL),
        "Ix_a_b_c": entry(),
        "Pk_a": entry(),
        long: entry(**{long: EXTERNAL, f"{long[:-4]}x__c": EXTERNAL, "Self__c": lookup(long, foreign_key=True)}),
    }
    found = facts(shadows, **clashing)
    names = [
        name.partition(" ")[2]
        for aspects in found.relations.values()
        for name, value in aspects.items()
        if name.startswith("index ") or value.startswith("PRIMARY KEY")
    ]
    assert len(names) == len(set(names)) == 10
    assert all(re.fullmatch("(pk|ix)_[a-z0-9_]+", name) for name in names)
    assert all(len(name.encode()) <= LONGEST_NAME for name in names)
    assert facts(shadows, **dict(reversed(clashing.items()))) == found


def test_choices_at_a_field_without_a_column_are_refused() -> None:
    fields = {
        "Home__c": {"type": "address", "choices": {"index": True}},
        "City__c": {**STRING, "compoundFieldName": "Home__c"},
    }
    with pytest.raises(MonarchError, match=r"T\.Home__c in meta\.json has choices, and no column"):
        desired(T=entry(**fields))
