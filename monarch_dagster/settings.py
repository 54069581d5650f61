"""Settings, from the environment and `.env`, with working defaults (DESIGN section 5).

Known to the edges only (`defs`, `cli`, `env.py`): what they hand on are plain paths, URLs and `Sources`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values
from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.memo import FOLDER as MEMO_FOLDER
from monarch_dagster.memo import Memo
from monarch_dagster.migrations.proofs import FOLDER as PROOFS_FOLDER
from monarch_dagster.migrations.proofs import Proofs, Prover
from monarch_dagster.postgres.embedded import shadow_cluster, target_cluster
from monarch_dagster.postgres.engines import parse_url
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.desired import Sources
from monarch_dagster.schema.naming import check_schema_name

WORKSPACE_FILE = "workspace.yaml"
TARGET_DATABASE = "monarch"
DEMO_DATABASE = "monarch_demo"
DAGSTER_DATABASE = "dagster"
UI_URL = "http://127.0.0.1:3000"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Settings:
    """All settings of one project. What may hold a secret is not shown by `repr`."""

    root: Path
    home: Path
    sources: Sources
    database_url: str = field(default="", repr=False)
    shadow_url: str = field(default="", repr=False)
    dagster_postgres_url: str = field(default="", repr=False)
    salesforce: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_token: str = field(default="", repr=False)
    ui_url: str = UI_URL

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, directory: Path | None = None) -> Settings:
        """Read the settings from `environment` (the process's own by default) and the `.env` in the project root.

        The environment wins over `.env`; a variable set to nothing counts as not set. Raises `MonarchError` for a value
        that cannot be used, naming its variable.
        """
        root = project_root(directory or Path.cwd())
        given = {**dotenv_values(root / ".env"), **(os.environ if environment is None else environment)}
        values = {name: value for name, value in given.items() if value}
        home = _folder(root, "MONARCH_HOME", values.get("MONARCH_HOME", ".monarch"))
        sources = Sources(
            root=root,
            schema_dir=_folder(root, "MONARCH_SCHEMA_DIR", values.get("MONARCH_SCHEMA_DIR", "src/custom/schema")),
            core_models=values.get("MONARCH_CORE_MODELS", "monarch_dagster.models"),
            provider_schema=check_schema_name(
                values.get("MONARCH_PROVIDER_SCHEMA", "salesforce"), "MONARCH_PROVIDER_SCHEMA"
            ),
            memo=Memo(home / MEMO_FOLDER),
        )
        salesforce = {name: value for name, value in values.items() if name.startswith("SALESFORCE_")}
        _check_salesforce(salesforce)
        return cls(
            root=root,
            home=home,
            sources=sources,
            database_url=values.get("MONARCH_DATABASE_URL", ""),
            shadow_url=values.get("MONARCH_SHADOW_URL", ""),
            dagster_postgres_url=values.get("DAGSTER_POSTGRES_URL", ""),
            salesforce=salesforce,
            api_token=values.get("MONARCH_API_TOKEN", ""),
            ui_url=values.get("MONARCH_UI_URL", UI_URL),
        )

    def demo(self) -> Settings:
        """Return the settings of the demo: a schema folder and a database of its own, on the embedded server."""
        sources = replace(self.sources, schema_dir=self.home / "demo" / "schema")
        url = target_cluster(self.home).url(DEMO_DATABASE).render_as_string(hide_password=False)
        return replace(self, sources=sources, database_url=url)

    @property
    def untouched(self) -> bool:
        """Whether nobody has begun to work here: no `SALESFORCE_*` variable is set and there is no schema folder."""
        return not self.salesforce and not self.sources.schema_dir.exists()

    def target_url(self) -> URL:
        """Return the target's URL; the embedded server is started for it where none is set."""
        if self.database_url:
            return parse_url(self.database_url, "MONARCH_DATABASE_URL")
        return target_cluster(self.home).url(TARGET_DATABASE)

    def shadows(self) -> ShadowServer:
        """Return the server for shadow databases; the embedded one is started where none is set."""
        if self.shadow_url:
            return ShadowServer(parse_url(self.shadow_url, "MONARCH_SHADOW_URL"), memo=self.sources.memo)
        return ShadowServer(shadow_cluster(self.home).url("postgres"), owned=True, memo=self.sources.memo)

    def proofs(self) -> Proofs:
        """Return the proofs that are kept under `MONARCH_HOME`."""
        return Proofs(self.home / PROOFS_FOLDER)

    def prover(self) -> Prover:
        """Return what proves revisions before they are applied; shadows are started when they are needed."""
        return Prover(self.sources, self.shadows, self.proofs())

    def dagster_url(self) -> URL:
        """Return the URL of Dagster's own storage; the embedded server is started for it where none is set."""
        if self.dagster_postgres_url:
            return parse_url(self.dagster_postgres_url, "DAGSTER_POSTGRES_URL")
        return target_cluster(self.home).url(DAGSTER_DATABASE)

    def environment(self) -> dict[str, str]:
        """Return the variables that lead another process to the same folders and target."""
        return {
            "MONARCH_HOME": str(self.home),
            "MONARCH_SCHEMA_DIR": str(self.sources.schema_dir),
            "MONARCH_DATABASE_URL": self.database_url,
        }


def project_root(directory: Path) -> Path:
    """Return the nearest parent of `directory` (itself included) that holds `workspace.yaml`, else `directory`."""
    directory = directory.resolve()
    return next((path for path in (directory, *directory.parents) if (path / WORKSPACE_FILE).is_file()), directory)


def _folder(root: Path, variable: str, value: str) -> Path:
    path = root / value
    if path.exists() and not path.is_dir():
        raise MonarchError(
            f"{variable} leads to {path}, which is a file.", remedy="Let it name a folder; what is not there is made."
        )
    return path


def _check_salesforce(values: Mapping[str, str]) -> None:
    instance = urlsplit(values.get("SALESFORCE_INSTANCE_URL", ""))
    if instance.scheme not in ("", "https"):
        raise MonarchError(
            f"SALESFORCE_INSTANCE_URL is an {instance.scheme} address; Salesforce speaks https only.",
            remedy="For a sample org or a proxy, leave the instance's https address and set SALESFORCE_BASE_URL.",
        )
    base = urlsplit(values.get("SALESFORCE_BASE_URL", ""))
    if base.path not in ("", "/") or base.query or base.fragment:
        raise MonarchError(
            "SALESFORCE_BASE_URL has more behind the host, expected https://HOST[:PORT]: it stands in for the hosts of "
            "Salesforce, whose paths are kept.",
            remedy="Leave out what comes behind HOST[:PORT].",
        )
    if base.scheme == "http" and base.hostname in LOOPBACK:
        return
    if values.get("SALESFORCE_BASE_URL") and (base.scheme != "https" or not base.hostname):
        raise MonarchError(
            "SALESFORCE_BASE_URL must be https://HOST[:PORT]; plain http goes to this machine only (127.0.0.1).",
            remedy="Correct it, or unset it to reach Salesforce itself.",
        )
