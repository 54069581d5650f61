"""What the server refuses and supplies in schema `landing`."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Text, cast, delete, insert, null, select, text, update

from monarch_dagster.models.landing import LoadBatch, LoadMode, RawRecord, RejectedRecord
from monarch_dagster.models.utilities import RunLog
from monarch_dagster_tests.models.conftest import Refused

NOON = datetime(2025, 5, 5, 12, tzinfo=UTC)


def new_batch(connection: Connection, **values: Any) -> UUID:
    row = {"provider": "salesforce", "object_name": "Account", "mode": LoadMode.FULL, "modified_until": NOON} | values
    return connection.scalars(insert(LoadBatch).values(row).returning(LoadBatch.id)).one()


def land(connection: Connection, batch: UUID, source_id: str = "001A", **values: Any) -> None:
    row = {"batch_id": batch, "source_id": source_id, "payload": {"Name": "Acme"}} | values
    connection.execute(insert(RawRecord).values(row))


def test_a_batch_written_by_sql_gets_its_id_status_start_and_counts_from_the_server(connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO landing.load_batch (provider, object_name, mode, modified_until)"
            " VALUES ('salesforce', 'Account', 'full', now())"
        )
    )
    batch = connection.execute(select(LoadBatch.__table__)).one()
    assert isinstance(batch.id, UUID)
    assert batch.status == "running"
    assert batch.started_at.tzinfo is not None
    assert (batch.read_count, batch.landed_count, batch.rejected_count) == (0, 0, 0)


def test_an_object_has_one_running_load_at_a_time(connection: Connection, refused: Refused) -> None:
    first = new_batch(connection)
    with refused("ix_load_batch_one_running"):
        new_batch(connection)
    new_batch(connection, object_name="Contact")
    killed = {"status": "failed", "error": "killed", "finished_at": text("now()")}
    connection.execute(update(LoadBatch).where(LoadBatch.id == first).values(killed))
    new_batch(connection)


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        pytest.param({"mode": "delta"}, "ck_load_batch_mode", id="unknown mode"),
        pytest.param({"status": "paused", "finished_at": text("now()")}, "ck_load_batch_status", id="unknown status"),
        pytest.param({"modified_from": NOON}, "ck_load_batch_modified_from_unless_full", id="full with a lower bound"),
        pytest.param({"mode": "incremental"}, "ck_load_batch_modified_from_unless_full", id="incremental without one"),
        pytest.param(
            {"mode": "incremental", "modified_from": NOON}, "ck_load_batch_window_not_empty", id="an empty window"
        ),
        pytest.param({"status": "succeeded"}, "ck_load_batch_finished_unless_running", id="ended without an end"),
        pytest.param({"finished_at": text("now()")}, "ck_load_batch_finished_unless_running", id="running with an end"),
        pytest.param(
            {"status": "succeeded", "finished_at": NOON, "started_at": NOON + timedelta(seconds=1)},
            "ck_load_batch_finished_after_start",
            id="ended before it began",
        ),
        pytest.param(
            {"status": "failed", "finished_at": text("now()")}, "ck_load_batch_error_when_failed", id="failed unsaid"
        ),
        pytest.param(
            {"read_count": 2, "landed_count": 2, "rejected_count": 1},
            "ck_load_batch_counts_add_up",
            id="more written than read",
        ),
    ],
)
def test_a_batch_that_contradicts_itself_is_refused(
    connection: Connection, refused: Refused, values: dict[str, Any], constraint: str
) -> None:
    with refused(constraint):
        new_batch(connection, **values)


def test_a_record_is_landed_once_in_a_batch_and_again_in_the_next(connection: Connection, refused: Refused) -> None:
    first = new_batch(connection, status="succeeded", finished_at=text("now()"))
    land(connection, first)
    with refused("uq_raw_record_batch_id_source_id"):
        land(connection, first, payload={"Name": "Other"})
    land(connection, new_batch(connection))


def test_the_digest_is_the_sha256_of_the_payload_byte_for_byte(connection: Connection) -> None:
    land(connection, new_batch(connection), payload={"Name": 'Ä "quoted" \\x41 \\\\ \n 🦋', "Path": "C:\\temp"})
    stored, digest = connection.execute(select(cast(RawRecord.payload, Text), RawRecord.payload_digest)).one()
    assert digest == sha256(stored.encode()).digest()


def test_the_digest_depends_on_content_and_not_on_the_order_of_keys(connection: Connection) -> None:
    batch = new_batch(connection)
    for source_id, payload in {"a": '{"x":1,"y":2}', "b": '{ "y": 2, "x": 1 }', "c": '{"x":1,"y":3}'}.items():
        statement = text("INSERT INTO landing.raw_record (batch_id, source_id, payload) VALUES (:batch, :id, :payload)")
        connection.execute(statement, {"batch": batch, "id": source_id, "payload": payload})
    rows = connection.execute(select(RawRecord.source_id, RawRecord.payload_digest))
    digests = {row.source_id: row.payload_digest for row in rows}
    assert digests["a"] == digests["b"] != digests["c"]


def test_only_a_deletion_may_come_without_a_payload(connection: Connection, refused: Refused) -> None:
    batch = new_batch(connection)
    with refused("ck_raw_record_payload_unless_deleted"):
        land(connection, batch, payload=None)
    land(connection, batch, payload=None, is_deleted=True)
    assert connection.scalars(select(RawRecord.payload_digest)).one() is None
    assert connection.scalars(select(RawRecord.payload.is_(null()))).one()


@pytest.mark.parametrize("payload", ["[]", "null", '"text"', "1"])
def test_a_payload_that_is_no_object_is_refused(connection: Connection, refused: Refused, payload: str) -> None:
    with refused("ck_raw_record_payload_is_object"):
        land(connection, new_batch(connection), payload=text(f"'{payload}'::jsonb"))


def test_a_record_without_an_id_belongs_among_the_rejected(connection: Connection, refused: Refused) -> None:
    batch = new_batch(connection)
    with refused("ck_raw_record_source_id"):
        land(connection, batch, source_id="")
    rejected = {"batch_id": batch, "ordinal": 0, "content": b"\x00\xff{", "detail": "no Id"}
    with refused("ck_rejected_record_reason"):
        connection.execute(insert(RejectedRecord).values(rejected | {"reason": "disliked"}))
    connection.execute(insert(RejectedRecord).values(rejected | {"reason": "missing_id"}))
    with refused("uq_rejected_record_batch_id_ordinal"):
        connection.execute(insert(RejectedRecord).values(rejected | {"reason": "malformed"}))
    assert connection.scalars(select(RejectedRecord.content)).one() == b"\x00\xff{"


def test_removing_a_batch_removes_its_records_and_no_others(connection: Connection) -> None:
    old = new_batch(connection, status="succeeded", finished_at=text("now()"))
    new = new_batch(connection)
    for batch in (old, new):
        land(connection, batch)
        rejected = {"batch_id": batch, "ordinal": 0, "content": b"", "reason": "malformed", "detail": "empty"}
        connection.execute(insert(RejectedRecord).values(rejected))
    connection.execute(delete(LoadBatch).where(LoadBatch.id == old))
    assert connection.scalars(select(RawRecord.batch_id)).all() == [new]
    assert connection.scalars(select(RejectedRecord.batch_id)).all() == [new]


def test_pruning_the_run_log_keeps_the_batches(connection: Connection, refused: Refused) -> None:
    with refused("fk_load_batch_run_id_run_log"):
        new_batch(connection, run_id="unknown")
    connection.execute(insert(RunLog).values(run_id="r1", job_name="load"))
    batch = new_batch(connection, run_id="r1")
    connection.execute(delete(RunLog))
    assert connection.execute(select(LoadBatch.id, LoadBatch.run_id)).all() == [(batch, None)]
