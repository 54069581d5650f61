"""Files are replaced whole (DESIGN rule 10): the old or the new one, also on a full disk and in a read-only folder."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.files import replace_file
from monarch_dagster_tests.support import SMALL_MODELS, Project, account


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own can be mounted by root only")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Use the disk up, save for a few empty names."""
    with (folder / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"x" * 4096)


def read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"ballast"}


def test_a_symbolic_link_stays_one_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    file, link = tmp_path / "real" / "file", tmp_path / "link"
    file.write_bytes(b"old")
    link.symlink_to(Path("real") / "file")
    replace_file(link, b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert names(tmp_path / "real") == {"file"}


def test_a_file_is_replaced_with_the_mode_that_the_umask_gives_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert names(tmp_path) == {"new/folder/file"}


def test_a_full_disk_leaves_the_old_file_and_no_part_of_the_new_one(tiny_disk: Path) -> None:
    path = tiny_disk / "file"
    replace_file(path, b"old")
    fill(tiny_disk)
    with pytest.raises(MonarchError, match=r"could not be written: No space left on device. Nothing was changed."):
        replace_file(path, b"n" * 8192)
    assert path.read_bytes() == b"old"
    assert names(tiny_disk) == {"file"}


def test_a_read_only_folder_leaves_the_old_file(tiny_disk: Path) -> None:
    path = tiny_disk / "file"
    replace_file(path, b"old")
    read_only(tiny_disk)
    with pytest.raises(MonarchError, match=r"could not be written: Read-only file system"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_path_that_leads_through_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MonarchError, match=r"could not be written: Not a directory|File exists"):
        replace_file(tmp_path / "file" / "x", b"")


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "file", b"new")
    assert names(tmp_path) == set()


def test_generating_onto_a_full_disk_or_into_a_read_only_folder_writes_nothing(
    project: Project, tiny_disk: Path
) -> None:
    from dataclasses import replace

    project.sources = replace(project.sources, schema_dir=tiny_disk / "schema")
    project.generate()
    before = names(tiny_disk)
    project.write_models(SMALL_MODELS.replace('"note"', '"memo"'))
    fill(tiny_disk)
    with pytest.raises(MonarchError, match="No space left on device"):
        project.generate()
    assert names(tiny_disk) == before
    read_only(tiny_disk)
    with pytest.raises(MonarchError, match="Read-only file system"):
        project.generate()
    with pytest.raises(MonarchError, match="Read-only file system"):
        project.write_meta(account())
    assert names(tiny_disk) == before
    # What is there can still be used.
    assert project.apply().after == project.chain().head


def test_a_schema_folder_that_cannot_be_made_is_told(project: Project) -> None:
    project.sources.schema_dir.write_text("a file")
    with pytest.raises(
        MonarchError, match=r"The schema folder .* cannot be used: File exists. Nothing was written."
    ) as e:
        project.generate()
    assert "MONARCH_SCHEMA_DIR" in e.value.remedy
