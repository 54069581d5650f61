"""What the tests of the registry share: a target that has its tables and those of the file. No tests."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from sqlalchemy import MetaData

from monarch_dagster.migrations.registering import Registered, register
from monarch_dagster.models.utilities import FieldRegistry, ObjectRegistry
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.salesforce.object_meta import ObjectMeta
from monarch_dagster.schema.desired import Desired, add_provider_tables, ddl
from monarch_dagster_tests.support import Project, account

REGISTRY = ("object_registry", "field_registry")
NAME = {"type": "string", "length": 255, "label": "Name"}
LEVEL = {"type": "string", "length": 40, "label": "Level"}
OBJECTS = account(Name=NAME, npsp__Level__c=LEVEL)


def statements(objects: Mapping[str, Any], *, registry: bool = True) -> list[str]:
    """Return the DDL of the registry and of the objects' tables."""
    metadata = MetaData()
    if registry:
        for model in (ObjectRegistry, FieldRegistry):
            model.__table__.to_metadata(metadata)
    add_provider_tables(metadata, ObjectMeta.model_validate({"objects": objects}), "salesforce")
    schemas = sorted({str(table.schema) for table in metadata.tables.values()})
    return list(ddl(Desired(metadata, tuple(schemas))))


def build(project: Project, objects: Mapping[str, Any], *, registry: bool = True) -> None:
    """Have the target at the tables of the objects, as if revisions had made them, and the file say the same."""
    project.write_meta(objects)
    with connect(project.target) as connection:
        run_script(connection, ";\n".join(statements(objects, registry=registry)))
        connection.commit()


def keep(project: Project, *, locked: bool = True) -> Registered:
    """Register what the file says."""
    return register(project.sources, project.target, locked=locked)


def labels(project: Project) -> dict[str, str]:
    """Return the labels in the registry: of an object by its name, of a field by `Object.Field`."""
    rows = project.execute(
        "SELECT api_name, label FROM utilities.object_registry "
        "UNION ALL SELECT object_name || '.' || api_name, label FROM utilities.field_registry ORDER BY 1"
    )
    return dict(tuple(row) for row in rows)


def missing(project: Project) -> dict[str, Any]:
    """Return since when what is missing is so."""
    rows = project.execute(
        "SELECT api_name, missing_since FROM utilities.object_registry WHERE missing_since IS NOT NULL "
        "UNION ALL SELECT object_name || '.' || api_name, missing_since FROM utilities.field_registry "
        "WHERE missing_since IS NOT NULL ORDER BY 1"
    )
    return dict(tuple(row) for row in rows)


def age(project: Project) -> None:
    """Have each row say that it was first seen on a day of its own, long ago."""
    for table in REGISTRY:
        project.execute(
            f"UPDATE utilities.{table} r SET first_seen_at = '2020-01-01'::date + n * interval '1 day 0.123456 s' "
            f"FROM (SELECT ctid AS place, row_number() OVER (ORDER BY api_name) AS n "
            f"FROM utilities.{table}) AS numbered WHERE r.ctid = place"
        )


def seen(project: Project) -> dict[str, Any]:
    """Return when each entry was first seen."""
    rows = project.execute(
        "SELECT api_name, first_seen_at FROM utilities.object_registry "
        "UNION ALL SELECT object_name || '.' || api_name, first_seen_at FROM utilities.field_registry ORDER BY 1"
    )
    return dict(tuple(row) for row in rows)


def versions(project: Project) -> dict[str, tuple[str, str]]:
    """Return which version of its row each entry has, and the transaction that wrote it."""
    return {
        str(name): (str(ctid), str(xmin))
        for table in REGISTRY
        for name, ctid, xmin in project.execute(
            f"SELECT concat_ws('.', to_jsonb(t) ->> 'object_name', api_name), ctid, xmin FROM utilities.{table} t"
        )
    }


def next_transaction(project: Project) -> int:
    """Return the number that the server's next writing transaction gets."""
    return int(project.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")[0][0])


def edited(**changes: Any) -> dict[str, Any]:
    """Return the objects with other keys in the field `Name`."""
    objects: dict[str, Any] = copy.deepcopy(OBJECTS)
    objects["Account"]["fields"][1].update(changes)
    return objects
