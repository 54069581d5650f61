"""The corpus: schema transitions by kind, each to be taken in both directions. What runs them is `transition`."""

from collections.abc import Mapping, Sequence
from typing import Final

from monarch_dagster_tests.migrations.corpus.columns import COLUMNS
from monarch_dagster_tests.migrations.corpus.comments import COMMENTS
from monarch_dagster_tests.migrations.corpus.constraints import CONSTRAINTS
from monarch_dagster_tests.migrations.corpus.enums import ENUMS
from monarch_dagster_tests.migrations.corpus.generated import GENERATED
from monarch_dagster_tests.migrations.corpus.identity import IDENTITY
from monarch_dagster_tests.migrations.corpus.indexes import INDEXES
from monarch_dagster_tests.migrations.corpus.keys import KEYS
from monarch_dagster_tests.migrations.corpus.mixed import MIXED
from monarch_dagster_tests.migrations.corpus.provider import PROVIDER
from monarch_dagster_tests.migrations.corpus.renames import RENAMES
from monarch_dagster_tests.migrations.corpus.schemas import SCHEMAS
from monarch_dagster_tests.migrations.corpus.sequences import SEQUENCES
from monarch_dagster_tests.migrations.corpus.tables import TABLES
from monarch_dagster_tests.migrations.corpus.transition import Transition
from monarch_dagster_tests.migrations.corpus.types import TYPES
from monarch_dagster_tests.migrations.corpus.views import VIEWS

BY_KIND: Final[Mapping[str, Sequence[Transition]]] = {
    "tables": TABLES,
    "schemas": SCHEMAS,
    "columns": COLUMNS,
    "types": TYPES,
    "constraints": CONSTRAINTS,
    "keys": KEYS,
    "indexes": INDEXES,
    "enums": ENUMS,
    "sequences": SEQUENCES,
    "identity": IDENTITY,
    "generated": GENERATED,
    "views": VIEWS,
    "comments": COMMENTS,
    "renames": RENAMES,
    "provider": PROVIDER,
    "mixed": MIXED,
}
ALL: Final = [case for cases in BY_KIND.values() for case in cases]
