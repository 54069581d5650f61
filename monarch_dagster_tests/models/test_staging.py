"""What the server refuses and supplies in schema `staging`."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, delete, insert, select, text, update

from monarch_dagster.models.landing import LoadBatch
from monarch_dagster.models.staging import BatchResult, ConversionError, ObjectWatermark, RecordState
from monarch_dagster_tests.models.conftest import Refused

ACCOUNT = {"provider": "salesforce", "object_name": "Account"}
RECORD = ACCOUNT | {"source_id": "001A"}
DIGEST = bytes(32)
ERROR = RECORD | {
    "field_name": "AnnualRevenue",
    "column_type": "numeric(18,2)",
    "source_value": "a lot",
    "message": "expected a number, found text",
    "effect": "value_dropped",
}


@pytest.fixture
def batch(connection: Connection) -> UUID:
    """A running full load of Account."""
    row = ACCOUNT | {"mode": "full", "modified_until": text("now()")}
    return connection.scalars(insert(LoadBatch).values(row).returning(LoadBatch.id)).one()


def stage(connection: Connection, **values: Any) -> None:
    connection.execute(insert(RecordState).values(RECORD | {"payload_digest": DIGEST} | values))


def test_a_record_begins_as_pending_and_has_one_state(connection: Connection, refused: Refused) -> None:
    stage(connection)
    assert connection.scalars(select(RecordState.status)).one() == "pending"
    with refused("pk_record_state"):
        stage(connection, status="staged")


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        pytest.param({"status": "lost"}, "ck_record_state_status", id="unknown status"),
        pytest.param({"payload_digest": b"short"}, "ck_record_state_payload_digest", id="not a SHA-256"),
        pytest.param({"payload_digest": None}, "ck_record_state_digest_unless_deleted", id="alive without a digest"),
    ],
)
def test_a_state_that_cannot_be_is_refused(
    connection: Connection, refused: Refused, values: dict[str, Any], constraint: str
) -> None:
    with refused(constraint):
        stage(connection, **values)


def test_a_deleted_record_may_have_no_digest(connection: Connection) -> None:
    stage(connection, status="deleted", payload_digest=None)


def test_a_field_of_a_record_has_one_open_error_and_any_number_of_resolved_ones(
    connection: Connection, refused: Refused
) -> None:
    stage(connection)
    connection.execute(insert(ConversionError).values(ERROR))
    with refused("ix_conversion_error_open"):
        connection.execute(insert(ConversionError).values(ERROR))
    connection.execute(insert(ConversionError).values(ERROR | {"field_name": "Fax"}))
    for _ in range(2):
        connection.execute(
            update(ConversionError)
            .where(ConversionError.field_name == "AnnualRevenue", ConversionError.resolved_at.is_(None))
            .values(resolved_at=text("now()"))
        )
        connection.execute(insert(ConversionError).values(ERROR))


def test_an_error_needs_a_known_record_and_goes_with_it(connection: Connection, refused: Refused) -> None:
    with refused("fk_conversion_error_record_state"):
        connection.execute(insert(ConversionError).values(ERROR))
    stage(connection)
    connection.execute(insert(ConversionError).values(ERROR))
    connection.execute(delete(RecordState))
    assert connection.scalars(select(ConversionError.id)).all() == []


def test_an_error_says_what_became_of_the_value(connection: Connection, refused: Refused) -> None:
    stage(connection)
    with refused("ck_conversion_error_effect"):
        connection.execute(insert(ConversionError).values(ERROR | {"effect": "ignored"}))


def test_retention_of_batches_keeps_states_errors_and_watermarks(connection: Connection, batch: UUID) -> None:
    stage(connection, last_batch_id=batch)
    connection.execute(insert(ConversionError).values(ERROR | {"batch_id": batch}))
    connection.execute(insert(ObjectWatermark).values(ACCOUNT | {"last_batch_id": batch}))
    connection.execute(insert(BatchResult).values(batch_id=batch))
    connection.execute(delete(LoadBatch))
    assert connection.scalars(select(RecordState.last_batch_id)).all() == [None]
    assert connection.scalars(select(ConversionError.batch_id)).all() == [None]
    assert connection.scalars(select(ObjectWatermark.last_batch_id)).all() == [None]
    assert connection.scalars(select(BatchResult.batch_id)).all() == []


def test_an_object_has_one_watermark(connection: Connection, refused: Refused) -> None:
    connection.execute(insert(ObjectWatermark).values(ACCOUNT))
    assert connection.execute(select(ObjectWatermark.watermark, ObjectWatermark.full_load_requested)).one() == (
        None,
        False,
    )
    with refused("pk_object_watermark"):
        connection.execute(insert(ObjectWatermark).values(ACCOUNT))


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        pytest.param({"status": "maybe", "finished_at": text("now()")}, "ck_batch_result_status", id="unknown status"),
        pytest.param({"updated_count": -1}, "ck_batch_result_counts", id="negative count"),
        pytest.param({"status": "succeeded"}, "ck_batch_result_finished_unless_running", id="ended without an end"),
        pytest.param(
            {"status": "failed", "finished_at": text("now()")}, "ck_batch_result_error_when_failed", id="failed unsaid"
        ),
    ],
)
def test_a_result_that_contradicts_itself_is_refused(
    connection: Connection, refused: Refused, batch: UUID, values: dict[str, Any], constraint: str
) -> None:
    with refused(constraint):
        connection.execute(insert(BatchResult).values(batch_id=batch, **values))
