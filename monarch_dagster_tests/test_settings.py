"""Settings: working defaults, the environment before `.env`, and errors that name the variable and no secret."""

import subprocess
import sys
from pathlib import Path

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.settings import Settings, project_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "workspace.yaml").write_text("")
    return tmp_path


def test_with_nothing_set_everything_has_a_place_under_the_project(root: Path) -> None:
    settings = Settings.load({}, root)
    assert settings.sources.schema_dir == root / "src/custom/schema"
    assert settings.sources.core_models == "monarch_dagster.models"
    assert settings.sources.provider_schema == "salesforce"
    assert settings.home == root / ".monarch"
    assert (settings.database_url, settings.shadow_url, settings.dagster_postgres_url) == ("", "", "")
    assert settings.untouched


def test_the_project_is_the_nearest_parent_with_a_workspace(root: Path) -> None:
    deep = root / "a" / "b"
    deep.mkdir(parents=True)
    assert project_root(deep) == root
    (root / "a" / "workspace.yaml").write_text("")
    assert project_root(deep) == root / "a"


def test_without_a_workspace_it_is_the_folder_itself(tmp_path: Path) -> None:
    assert project_root(tmp_path) == tmp_path
    (tmp_path / "workspace.yaml").mkdir()
    assert project_root(tmp_path / "x") == tmp_path / "x"


def test_relative_paths_are_taken_from_the_project_and_absolute_ones_stay(root: Path) -> None:
    settings = Settings.load({"MONARCH_HOME": "state", "MONARCH_SCHEMA_DIR": "/elsewhere"}, root)
    assert settings.home == root / "state"
    assert settings.sources.schema_dir == Path("/elsewhere")


def test_the_environment_wins_over_dotenv_and_an_empty_variable_is_not_set(root: Path) -> None:
    (root / ".env").write_text(
        'MONARCH_CORE_MODELS=from_file\nMONARCH_HOME="from file"\n# a comment\nMONARCH_SHADOW_URL=\n'
    )
    settings = Settings.load({"MONARCH_CORE_MODELS": "from_environment"}, root)
    assert settings.sources.core_models == "from_environment"
    assert settings.home == root / "from file"
    assert settings.shadow_url == ""


def test_secrets_are_not_shown(root: Path) -> None:
    given = {
        "MONARCH_DATABASE_URL": "postgresql://me:s3cr3t@h/d",
        "MONARCH_SHADOW_URL": "postgresql://me:s3cr3t@h/d",
        "DAGSTER_POSTGRES_URL": "postgresql://me:s3cr3t@h/d",
        "SALESFORCE_PASSWORD": "s3cr3t",
    }
    settings = Settings.load(given, root)
    assert "s3cr3t" not in repr(settings)
    assert not settings.untouched
    assert settings.target_url().password == "s3cr3t"


@pytest.mark.parametrize(
    ("variable", "use"),
    [
        ("MONARCH_DATABASE_URL", Settings.target_url),
        ("MONARCH_SHADOW_URL", Settings.shadows),
        ("DAGSTER_POSTGRES_URL", Settings.dagster_url),
    ],
)
def test_a_url_that_is_none_is_told_with_its_variable_and_without_its_text(
    root: Path, variable: str, use: "object"
) -> None:
    assert callable(use)
    with pytest.raises(MonarchError, match=f"{variable} is not a database URL") as caught:
        use(Settings.load({variable: "s3cr3t"}, root))
    assert "s3cr3t" not in str(caught.value)


def test_a_provider_schema_that_cannot_be_one_is_told(root: Path) -> None:
    for name in ("Sales Force", "public", "alembic"):
        with pytest.raises(MonarchError, match=f"MONARCH_PROVIDER_SCHEMA is '{name}'"):
            Settings.load({"MONARCH_PROVIDER_SCHEMA": name}, root)


@pytest.mark.parametrize(
    ("variable", "value", "accepted"),
    [
        ("SALESFORCE_INSTANCE_URL", "https://x.my.salesforce.com", True),
        ("SALESFORCE_INSTANCE_URL", "http://x.my.salesforce.com", False),
        ("SALESFORCE_BASE_URL", "https://proxy.example:8443", True),
        ("SALESFORCE_BASE_URL", "http://127.0.0.1:8091", True),
        ("SALESFORCE_BASE_URL", "http://localhost:8091", True),
        ("SALESFORCE_BASE_URL", "http://[::1]:8091", True),
        ("SALESFORCE_BASE_URL", "http://127.0.0.1.evil.example", False),
        ("SALESFORCE_BASE_URL", "http://proxy.example", False),
        ("SALESFORCE_BASE_URL", "ftp://127.0.0.1", False),
        ("SALESFORCE_BASE_URL", "https://", False),
        ("SALESFORCE_BASE_URL", "https://proxy.example/", True),
        ("SALESFORCE_BASE_URL", "https://proxy.example/salesforce", False),
    ],
)
def test_credentials_go_over_https_or_to_this_machine_only(
    root: Path, variable: str, value: str, accepted: bool
) -> None:
    if accepted:
        assert Settings.load({variable: value}, root).salesforce == {variable: value}
        return
    with pytest.raises(MonarchError, match=variable):
        Settings.load({variable: value}, root)


@pytest.mark.parametrize("variable", ["MONARCH_HOME", "MONARCH_SCHEMA_DIR"])
def test_a_file_where_a_folder_belongs_is_told(root: Path, variable: str) -> None:
    (root / "file").write_text("")
    with pytest.raises(MonarchError, match=f"{variable} leads to {root}/file, which is a file"):
        Settings.load({variable: "file"}, root)
    assert Settings.load({variable: "new"}, root)


def test_another_process_is_led_to_the_same_folders_and_target(root: Path) -> None:
    settings = Settings.load({"MONARCH_HOME": "h", "MONARCH_DATABASE_URL": "postgresql://h/d"}, root)
    again = Settings.load(settings.environment(), root)
    assert (again.home, again.sources.schema_dir, again.database_url) == (
        settings.home,
        settings.sources.schema_dir,
        settings.database_url,
    )


def test_reading_the_settings_loads_neither_alembic_nor_dagster() -> None:
    program = "import sys, monarch_dagster.settings; print(sorted({'alembic', 'dagster'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
