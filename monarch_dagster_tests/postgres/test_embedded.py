"""The embedded server: started by anyone, any number of times, after whatever happened to it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres import embedded
from monarch_dagster.postgres.embedded import (
    MEMORY_DIR,
    SHADOW_SETTINGS,
    EmbeddedCluster,
    shadow_cluster,
    target_cluster,
)
from monarch_dagster.postgres.engines import connect

START = """
import sys
from pathlib import Path
from monarch_dagster.postgres.embedded import EmbeddedCluster, SHADOW_SETTINGS
from monarch_dagster.postgres.engines import connect
with connect(EmbeddedCluster(Path(sys.argv[1]), SHADOW_SETTINGS).url("monarch")) as connection:
    print(connection.exec_driver_sql("SELECT pg_postmaster_start_time()").scalar_one())
"""


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    """A cluster of its own that does not run yet."""
    place = MEMORY_DIR if MEMORY_DIR.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="monarch-own-", dir=place, ignore_cleanup_errors=True) as folder:
        own = EmbeddedCluster(Path(folder) / "pg" / "data", SHADOW_SETTINGS)
        yield own
        own.remove()


def answer(cluster: EmbeddedCluster, statement: str = "SELECT 1") -> object:
    with connect(cluster.url("postgres"), autocommit=True) as connection:
        result = connection.exec_driver_sql(statement)
        return result.scalar_one() if result.returns_rows else None


def postmaster(cluster: EmbeddedCluster) -> int:
    return int((cluster.data_dir / "postmaster.pid").read_text().split()[0])


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/stat").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.soak
def test_it_starts_from_eight_processes_at_once_and_is_one_server(cluster: EmbeddedCluster) -> None:
    command = [sys.executable, "-c", START, str(cluster.data_dir)]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    outputs = [starter.communicate(timeout=120) for starter in starters]
    assert [starter.returncode for starter in starters] == [0] * 8, outputs
    assert len({out for out, _ in outputs}) == 1


def test_it_stops_starts_again_and_keeps_what_is_in_it(cluster: EmbeddedCluster) -> None:
    assert not cluster.stop()
    answer(cluster, "CREATE TABLE kept ()")
    assert answer(cluster, "SHOW fsync") == "off"
    assert cluster.stop()
    assert not cluster.stop()
    assert answer(cluster, "SELECT to_regclass('kept')::text") == "kept"


def test_a_server_that_was_killed_recovers_even_while_somebody_asks(cluster: EmbeddedCluster) -> None:
    answer(cluster, "CREATE TABLE kept ()")
    answer(cluster, "CHECKPOINT")
    pid = postmaster(cluster)
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    assert answer(cluster, "SELECT to_regclass('kept')::text") == "kept"
    assert postmaster(cluster) != pid


def test_a_pid_file_of_a_reboot_whose_number_is_another_process_now_is_no_server(cluster: EmbeddedCluster) -> None:
    answer(cluster)
    path = cluster.data_dir / "postmaster.pid"
    text = path.read_text()
    lock = Path(text.splitlines()[4]) / f".s.PGSQL.{text.splitlines()[3]}.lock"
    locked = lock.read_text()
    cluster.stop()
    for file, content in ((path, text), (lock, locked)):
        file.write_text(content.replace(content.split()[0], str(os.getpid()), 1))
    assert answer(cluster) == 1
    assert postmaster(cluster) != os.getpid()


def test_data_that_vanished_is_made_anew(cluster: EmbeddedCluster) -> None:
    answer(cluster, "CREATE TABLE lost ()")
    cluster.stop()
    shutil.rmtree(cluster.data_dir.parent)
    assert answer(cluster, "SELECT to_regclass('lost')") is None


def test_a_server_without_a_connection_to_spare_is_waited_for_and_not_started_over(
    cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = cluster.url("postgres")
    pid = postmaster(cluster)
    monkeypatch.setattr(embedded, "START_SECONDS", 0.5)
    with connect(url, autocommit=True) as connection:
        # As a server says that recovers, shuts down or is full.
        monkeypatch.setattr(embedded, "_refusal", lambda _: "sorry, too many clients already")
        with pytest.raises(MonarchError, match="it runs, but refuses connections: sorry, too many clients already"):
            cluster.url("postgres")
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    assert postmaster(cluster) == pid


def test_a_folder_that_cannot_be_made_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MonarchError, match="has no place for its data") as caught:
        EmbeddedCluster(tmp_path / "file" / "data").url("postgres")
    assert "MONARCH_HOME" in caught.value.remedy


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    (tmp_path / "pg").mkdir()
    os.chown(tmp_path / "pg", 12345, 12345)
    with pytest.raises(MonarchError, match="belongs to another user"):
        EmbeddedCluster(tmp_path / "pg" / "data").url("postgres")


def test_each_home_has_clusters_of_its_own_and_shadows_go_to_memory_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert target_cluster(one).data_dir == one / "postgres" / "data"
    assert shadow_cluster(one).data_dir != shadow_cluster(two).data_dir
    monkeypatch.setattr(embedded, "_has_room", lambda _: False)
    assert shadow_cluster(one).data_dir == one / "postgres-shadow" / "data"
