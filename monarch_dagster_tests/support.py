"""What tests share: a project of their own in a temporary folder, on a real server. No tests."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event
from sqlalchemy.engine import Engine

from monarch_dagster.migrations.apply import ApplyResult, apply_revisions, revert_revisions
from monarch_dagster.migrations.chain import Chain, load_chain
from monarch_dagster.migrations.generate import Proposal, propose
from monarch_dagster.migrations.proofs import Proofs, Prover
from monarch_dagster.postgres.embedded import EmbeddedCluster, binaries
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.salesforce.object_meta import ObjectMeta, write_object_meta
from monarch_dagster.schema.desired import Sources
from monarch_dagster.schema.facts import Facts, read_facts, user_schemas
from monarch_dagster_tests import warm

DESCRIBES = Path(__file__).parents[2] / "shared" / "describes"
MODELS_HEADER = """
from datetime import datetime
from sqlalchemy import *
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from monarch_dagster.models.base import NAMING_CONVENTION

class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
"""
# One small core model, for tests whose subject is something else.
SMALL_MODELS = """
class Note(Base):
    __tablename__ = "note"
    __table_args__ = {"schema": "landing"}
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    body: Mapped[str] = mapped_column(Text)
"""


@dataclass
class Project:
    """A client's project in `root`: its sources, a target of its own and the servers that tests share."""

    root: Path
    target: URL
    shadows: ShadowServer
    dagster_url: URL
    # Whether `apply` takes the chain as proved.
    trusting: bool = False
    sources: Sources = field(init=False)

    def __post_init__(self) -> None:
        (self.root / "workspace.yaml").write_text((Path(__file__).parents[1] / "workspace.yaml").read_text())
        (self.root / "dagster.yaml").write_text((Path(__file__).parents[1] / "dagster.yaml").read_text())
        places = self.root, self.root / "schema"
        self.sources = Sources(*places, "client_models", "salesforce", memo=self.shadows.memo)
        self.write_models(SMALL_MODELS)

    @property
    def prover(self) -> Prover:
        """What proves revisions; proofs are kept in the project's own home."""
        return Prover(self.sources, lambda: self.shadows, Proofs(self.root / ".monarch" / "proofs"))

    @property
    def versions(self) -> Path:
        """The folder of the revision files."""
        return self.sources.schema_dir / "versions"

    def write_models(self, body: str) -> None:
        """Replace the core models by `body`, in which `Base` and everything of SQLAlchemy is at hand."""
        (self.root / "client_models.py").write_text(MODELS_HEADER + textwrap.dedent(body))

    def write_meta(self, objects: Mapping[str, Any], **keys: Any) -> None:
        """Replace object_meta.json; `objects` is as in the file."""
        write_object_meta(self.sources.object_meta_path, ObjectMeta.model_validate({"objects": objects, **keys}))

    def generate(self, **options: Any) -> Proposal:
        """Propose revisions."""
        return propose(self.sources, self.shadows, self.prover.proofs, **options)

    def chain(self) -> Chain:
        """Read the chain."""
        return load_chain(self.sources.schema_dir)

    def trust(self) -> None:
        """Take every revision of the chain as proved, for tests of what comes after the proof.

        Their revisions are written by hand to show one thing, and take back or restore nothing else; a proof refuses
        them, and rightly. Commands read the same folder of proofs.
        """
        chain = self.chain()
        for item in chain.revisions:
            self.prover.proofs.keep(chain, item.revision, self.shadows.major)

    def apply(self, **options: Any) -> ApplyResult:
        """Apply pending revisions to the target."""
        if self.trusting:
            self.trust()
        return apply_revisions(self.chain(), self.target, self.prover, **options)

    def revert(self, to: str, **options: Any) -> ApplyResult:
        """Take the target back."""
        return revert_revisions(self.chain(), self.target, self.sources, to=to, **options)

    def execute(self, statement: str, *parameters: Any) -> list[Any]:
        """Run SQL on the target and commit; return the rows, none where the statement gives none."""
        with connect(self.target) as connection:
            result = connection.exec_driver_sql(statement, tuple(parameters) or None)
            rows = list(result) if result.returns_rows else []
            connection.commit()
        return rows

    def facts(self) -> Facts:
        """Read the facts of all schemas of the target."""
        with connect(self.target) as connection:
            return read_facts(connection, user_schemas(connection))

    def dump(self) -> str:
        """Return the target's schema as pg_dump of the server's own version prints it."""
        command = [
            str(binaries() / "pg_dump"),
            *("--schema-only", "--no-owner", "--restrict-key=monarch"),
            *("--host", str(self.target.query["host"]), "--username", "postgres", str(self.target.database)),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def environment(self, **extra: str) -> dict[str, str]:
        """Return the environment in which a command works on this project and nothing else."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MONARCH_", "SALESFORCE_", "DAGSTER_"))}
        return inherited | {
            "MONARCH_DATABASE_URL": self.target.render_as_string(hide_password=False),
            "MONARCH_SHADOW_URL": self.shadows.url.render_as_string(hide_password=False),
            "DAGSTER_POSTGRES_URL": self.dagster_url.render_as_string(hide_password=False),
            "MONARCH_SCHEMA_DIR": "schema",
            "MONARCH_CORE_MODELS": "client_models",
            "PYTHONWARNINGS": "default",
            **extra,
        }

    def monarch(self, *arguments: str, code: int = 0, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run the command `monarch` in the project's folder; it must end with exit code `code`."""
        done = warm.run("monarch_dagster", arguments, folder=self.root, environment=self.environment(**extra))
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        return done


@contextmanager
def new_project(folder: Path, server: EmbeddedCluster, shadows: ShadowServer) -> Iterator[Project]:
    """Make a project with a small core model, no metadata and an empty target, which goes at the end."""
    name = f"target_{secrets.token_hex(6)}"
    with connect(server.url("postgres"), autocommit=True) as connection:
        # Three times as fast as what the server would do by itself.
        connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE template0 STRATEGY file_copy')
        yield Project(folder, shadows.url.set(database=name), shadows, server.url("dagster"))
        connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')


def account(**fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of an object `Account` with an `Id` and the given fields (name → its other keys)."""
    described = [{"name": "Id", "type": "id", "length": 18}, *({"name": name, **keys} for name, keys in fields.items())]
    return {"Account": {"label": "Account", "fields": described}}


def squeeze(text: str) -> str:
    """Return `text` with every run of white space as one space, since terminals wrap."""
    return re.sub(r"\s+", " ", text)


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """Give the statements that go to any server meanwhile."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)
