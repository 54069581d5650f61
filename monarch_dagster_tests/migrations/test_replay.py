"""The chain on a shadow: what a kept clone holds, and what may be replayed on it."""

from monarch_dagster.migrations.coverage import Coverage, coverage
from monarch_dagster.migrations.replay import chain_clone
from monarch_dagster.postgres.engines import connect
from monarch_dagster_tests.migrations.support import sql, write_revision
from monarch_dagster_tests.support import SMALL_MODELS, Project

COLUMN = "    extra: Mapped[int | None] = mapped_column(Integer)\n"


def test_the_rows_of_a_proof_do_not_stay_where_a_later_revision_is_replayed(project: Project) -> None:
    project.generate()
    project.write_models(SMALL_MODELS + COLUMN)
    head = project.generate().head
    with chain_clone(project.shadows, project.chain(), head) as url, connect(url) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM landing.note").scalar_one() == 0
    # Such as one that was pulled, and that a row without a value would stop.
    up, back = (sql(f"ALTER TABLE landing.note ALTER extra {word} NOT NULL") for word in ("SET", "DROP"))
    write_revision(project.versions, "pulled", head, up=up, back=back)
    project.write_models(SMALL_MODELS + COLUMN.replace("int | None", "int"))
    assert coverage(project.sources, project.shadows) == Coverage(covered=True)
