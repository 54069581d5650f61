"""What hazards mean on a target: rows and sizes of the tables that pending revisions work on."""

from monarch_dagster.defs.metadata import describe_apply, plain
from monarch_dagster.migrations.revisions import Hazard
from monarch_dagster.migrations.sizes import MANY_COLUMNS, TableSize, human_bytes, live_hazards, read_sizes, size_of
from monarch_dagster.migrations.status import read_status
from monarch_dagster_tests.support import SMALL_MODELS, Project


def with_pending_column(project: Project) -> None:
    """Have a table with a thousand rows on the target, and a revision pending that works on it."""
    project.generate()
    project.apply()
    project.execute("INSERT INTO landing.note (body) SELECT 'x' FROM generate_series(1, 1000)")
    project.execute("ANALYZE landing.note")
    project.write_models(SMALL_MODELS + "    title: Mapped[str | None] = mapped_column(Text, index=True)\n")
    project.generate()


def test_status_tells_rows_and_bytes_of_the_tables_that_hazards_name(project: Project) -> None:
    with_pending_column(project)
    pending = read_status(project.sources, lambda: project.shadows, project.target).to_json()["pending"]
    assert [item["hazards"][0]["kind"] for item in pending] == ["lock", "lock"]
    for item in pending:
        (table,) = item["tables"]
        assert (table["table"], table["rows"], table["columns"]) == ("landing.note", 1000, 2)
        assert table["bytes"] > 8192


def test_the_run_shows_hazards_with_what_they_mean_on_its_target(project: Project) -> None:
    with_pending_column(project)
    first = project.chain().revisions[1].revision
    metadata = describe_apply(project.apply(to=first), dry_run=False)
    (row,) = plain({"hazards": metadata["hazards"]})["hazards"]
    assert (row["kind"], row["object"], row["rows"]) == ("lock", "landing.note", "about 1,000")
    assert row["severity"] == "low"
    assert row["size"].endswith("kB")
    assert "SHARE UPDATE EXCLUSIVE while an index is built" in row["detail"]


def test_a_dropped_column_still_counts(project: Project) -> None:
    with_pending_column(project)
    project.execute("ALTER TABLE landing.note ADD x int, ADD y int; ALTER TABLE landing.note DROP x, DROP y")
    assert read_sizes(project.target, project.chain().revisions)["landing.note"].columns == 4
    near = {"s.t": TableSize("s.t", 1, 1, MANY_COLUMNS)}
    assert [str(item) for item in live_hazards(near)] == [
        "limit s.t: 1,400 of 1,600 columns are used, dropped ones counted"
    ]
    assert live_hazards({"s.t": TableSize("s.t", 1, 1, MANY_COLUMNS - 1)}) == []


def test_a_hazard_is_about_a_table_or_a_column_of_it() -> None:
    sizes = {"s.t": TableSize("s.t", 5, 10, 2)}
    assert size_of(Hazard("rewrite", "s.t.a", ""), sizes) == sizes["s.t"]
    assert size_of(Hazard("lock", "s.t", ""), sizes) == sizes["s.t"]
    assert size_of(Hazard("lock", "s.other", ""), sizes) is None


def test_bytes_are_told_as_people_do() -> None:
    assert [human_bytes(number) for number in (0, 1023, 1024, 16 << 10, 5 << 30, 3 << 40)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 kB",
        "16 kB",
        "5.0 GB",
        "3.0 TB",
    ]
