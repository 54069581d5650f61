"""Object metadata of any size, in the shape of real orgs: mostly short strings, some numbers, dates and lookups."""

from __future__ import annotations

from monarch_dagster.salesforce.object_meta import Field, Object, ObjectMeta

_SHAPES = (
    {"type": "string", "length": 255},
    {"type": "reference", "length": 18},
    {"type": "boolean"},
    {"type": "datetime"},
    {"type": "picklist", "length": 40},
    {"type": "double", "precision": 18, "scale": 2},
    {"type": "textarea", "length": 32000},
    {"type": "int", "digits": 9},
)


def synthetic_org(objects: int, fields: int) -> ObjectMeta:
    """Return the metadata of an org with `objects` objects of `fields` fields each, `Id` included."""
    # All have the field that tells of changes, which gets an index.
    common = (Field(name="Id", type="id", length=18), Field(name="SystemModstamp", type="datetime"))
    described = (*common, *(_field(number) for number in range(2, fields)))
    return ObjectMeta(objects={f"Thing_{number:05}__c": Object(fields=described) for number in range(objects)})


def with_field_added(meta: ObjectMeta, objects: int = 1) -> ObjectMeta:
    """Return `meta` with one more field on its first `objects` objects."""
    added = Field(name="Added__c", type="string", length=80)
    changed = {
        name: item.model_copy(update={"fields": (*item.fields, added)})
        for name, item in list(meta.objects.items())[:objects]
    }
    return meta.model_copy(update={"objects": {**meta.objects, **changed}})


def with_object_added(meta: ObjectMeta) -> ObjectMeta:
    """Return `meta` with one more object, which is as its last one."""
    *_, last = meta.objects.values()
    return meta.model_copy(update={"objects": {**meta.objects, "Thing_more__c": last}})


def _field(number: int) -> Field:
    return Field.model_validate({"name": f"Field_{number:03}__c", **_SHAPES[number % len(_SHAPES)]})
