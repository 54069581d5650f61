"""What `deploy/` says fits the code, itself, and the schemas of Compose and of Dagster's chart."""

from __future__ import annotations

import json
import os
import re
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from monarch_dagster.settings import Settings
from monarch_dagster_tests.deploying import (
    DEPLOY,
    ROOT,
    NotSetError,
    example_settings,
    image_environment,
    read_services,
)

SET = {"POSTGRES_PASSWORD": "secret"}
SCHEMAS = "MONARCH_DEPLOY_SCHEMAS"


def test_every_setting_of_the_code_stands_in_the_example_with_its_default() -> None:
    files = (ROOT / "monarch_dagster").rglob("*.py")
    names = {
        name
        for path in files
        for name in re.findall(r'"((?:MONARCH|SALESFORCE|DAGSTER)_[A-Z_]+[A-Z])"', path.read_text())
    }
    assert {"MONARCH_HOME", "SALESFORCE_DOMAIN", "DAGSTER_HOME"} <= names <= example_settings().keys()


def test_the_example_sets_nothing_and_its_defaults_are_those_of_the_code(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text()
    (tmp_path / "workspace.yaml").write_text("")
    (tmp_path / ".env").write_text(text)
    plain = Settings.load({}, tmp_path)
    (tmp_path / ".env").write_text(re.sub(r"^#(?=[A-Z_]+=)", "", text, flags=re.MULTILINE))
    default = Settings.load({}, tmp_path)
    assert (default.sources, default.home) == (plain.sources, plain.home)
    assert default.salesforce.keys() == {"SALESFORCE_MAX_API_USAGE"}
    assert (default.database_url, default.shadow_url, default.dagster_postgres_url) == ("", "", "")


def test_the_example_says_a_word_of_each_variable_and_holds_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    for before, line in pairwise(lines):
        if re.match(r"#[A-Z_]+=", line):
            assert before.startswith("#"), line
    secrets = re.compile("PASSWORD|TOKEN|SECRET|KEY|SESSION|DATABASE|POSTGRES")
    assert not [name for name, value in example_settings().items() if secrets.search(name) and value]


def test_without_a_password_nothing_starts() -> None:
    with pytest.raises(NotSetError, match=re.escape("POSTGRES_PASSWORD: set it in .env")):
        read_services({})


def test_only_what_runs_jobs_knows_the_target_and_the_org() -> None:
    services = read_services(SET | {"SALESFORCE_CONSUMER_SECRET": "x", "MONARCH_DATABASE_URL": "postgresql://else/w"})
    assert services["code"].environment["MONARCH_DATABASE_URL"] == "postgresql://else/w"
    knowing = [name for name, service in services.items() if "SALESFORCE_CONSUMER_SECRET" in service.environment]
    assert knowing == ["code", "api"]
    urls = {name for name, service in services.items() if "MONARCH_DATABASE_URL" in service.environment}
    assert urls == {"code", "api"}
    assert read_services(SET)["code"].environment["MONARCH_DATABASE_URL"].endswith("secret@postgres/warehouse")
    assert "CREATE DATABASE warehouse;" in (DEPLOY / "databases.sql").read_text()


def test_every_service_has_a_health_check_and_waits_for_what_it_needs() -> None:
    services = read_services(SET)
    assert all(service.health for service in services.values())
    assert services["code"].after == ("postgres",)
    assert services["webserver"].after == ("code",)
    assert services["daemon"].after == ("webserver",)
    # The page and its logs are for this machine; a login stands in front of it.
    assert services["webserver"].raw["ports"] == ["127.0.0.1:3000:3000"]
    assert not [name for name in ("code", "daemon", "postgres") if "ports" in services[name].raw]


def test_the_names_of_hosts_ports_and_places_agree() -> None:
    [server] = [item["grpc_server"] for item in yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]]
    services = read_services(SET)
    code = services[server["host"]]
    assert code.raw["hostname"] == code.name
    assert str(server["port"]) in code.command
    assert str(server["port"]) in code.health
    for name in ("webserver", "daemon"):
        assert services[name].command[-2:] == ("--workspace", "deploy/workspace.yaml")
    [local] = [item["python_module"] for item in yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]]
    assert (local["location_name"], local["module_name"]) == (server["location_name"], code.command[-1])
    home = image_environment()["MONARCH_HOME"]
    assert [services[name].raw["volumes"] for name in ("code", "webserver", "daemon")] == [[f"monarch:{home}"]] * 3


def test_images_are_pinned_by_their_major_version_and_the_target_is_the_shadows_one() -> None:
    from monarch_dagster.postgres.embedded import MAJOR

    assert read_services(SET)["postgres"].raw["image"] == f"postgres:{MAJOR}"
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"^FROM python:3\.\d+-slim$", dockerfile, re.MULTILINE)
    assert re.search(r"^USER 10001$", dockerfile, re.MULTILINE)


def test_chart_library_and_dagster_are_of_one_version() -> None:
    values = (DEPLOY / "helm-values.yaml").read_text()
    assert f"--version {version('dagster')}" in values
    minor = version("dagster-postgres").rpartition(".")[0]
    assert (
        f'"dagster-k8s>={version("dagster-postgres")},<0.{int(minor.partition(".")[2]) + 1}"'
        in (DEPLOY / "Dockerfile").read_text()
    )
    code = yaml.safe_load(values)["dagster-user-deployments"]["deployments"][0]
    assert code["dagsterApiGrpcArgs"][-1] == read_services(SET)["code"].command[-1]


@pytest.mark.parametrize("path", sorted([*DEPLOY.glob("*.yaml"), *ROOT.glob("*.yaml")]), ids=lambda path: path.name)
def test_yaml_says_each_key_once(path: Path) -> None:
    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if key.value != "<<"]
            assert len(keys) == len(set(keys)), f"{path.name}: {keys}"
            return super().construct_mapping(node, deep)

    assert yaml.load(path.read_text(), Strict)


def test_nothing_secret_and_nothing_of_this_machine_goes_into_the_image() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {".env", ".git", ".monarch", ".venv"} <= set(ignored)


@pytest.fixture
def schemas() -> Path:
    folder = os.environ.get(SCHEMAS)
    if not folder:
        pytest.skip(
            f"{SCHEMAS} names no folder with compose-spec.json (github.com/compose-spec/compose-spec, schema/) and the "
            "chart dagster/ with values.yaml and values.schema.json (helm pull dagster/dagster --untar)"
        )
    return Path(folder)


def test_the_compose_file_is_what_compose_expects(schemas: Path) -> None:
    schema = json.loads((schemas / "compose-spec.json").read_text())
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert problems(schema, compose) == []
    compose["services"]["code"]["healtcheck"] = {}
    assert problems(schema, compose)


def test_the_helm_values_are_what_the_chart_expects(schemas: Path) -> None:
    chart = schemas / "dagster"
    defaults = yaml.safe_load((chart / "values.yaml").read_text())
    own = yaml.safe_load((DEPLOY / "helm-values.yaml").read_text())
    assert own.keys() <= defaults.keys()
    values = without_nulls(merged(defaults, own))
    assert problems(json.loads((chart / "values.schema.json").read_text()), values) == []
    users = chart / "charts" / "dagster-user-deployments"
    user_values = merged(yaml.safe_load((users / "values.yaml").read_text()), values["dagster-user-deployments"])
    user_schema = json.loads((users / "values.schema.json").read_text())
    assert problems(user_schema, without_nulls(user_values | {"global": values["global"]})) == []
    user_values["deployments"][0]["port"] = "4000"
    assert problems(user_schema, without_nulls(user_values | {"global": values["global"]}))


def problems(schema: Any, value: Any) -> list[str]:
    """Return what `schema` has against a value; what it leaves to other machines' schemas is not looked at."""
    found = jsonschema.validators.validator_for(schema, jsonschema.Draft7Validator)(local(schema)).iter_errors(value)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def local(schema: Any) -> Any:
    if isinstance(schema, dict):
        kept = {key: value for key, value in schema.items() if not (key == "$ref" and str(value).startswith("http"))}
        return {key: local(value) for key, value in kept.items() if key != "$schema"}
    return [local(item) for item in schema] if isinstance(schema, list) else schema


def merged(below: Any, above: Any) -> Any:
    """Lay values over a chart's, as Helm does."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: merged(below.get(key), value) for key, value in above.items()}
    return above


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value
