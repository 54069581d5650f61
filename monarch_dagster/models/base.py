"""What the models files share: the declarative base, the naming convention and the column types they repeat.

No schema of its own and no table belongs here, nor anything that talks to a database.

The files refer to each other in one direction, `staging` to `landing` to `utilities`, and `merge_utilities` to none, so
that foreign keys never form a cycle and tables can be created, loaded and dropped in one order. There are no ORM
relationships: these tables are read and written in sets, and a lazily loaded graph invites loops over millions of rows.

A default stands in the database (`server_default`), never in Python alone: rows are also written by SQL.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Identity, LargeBinary, MetaData, Numeric, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

NAMING_CONVENTION: Final[dict[str, str]] = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
}
"""Names for keys, indexes and constraints: a constraint without a name cannot be dropped, so no downgrade could be."""


class Base(DeclarativeBase):
    """The base of every core model; its one `MetaData` is the core part of the desired schema."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        bytes: LargeBinary(),
        datetime: DateTime(timezone=True),
        UUID: Uuid(),
        # A Python None is an absent value and not the JSON value null, which NOT NULL would let pass.
        dict[str, Any]: JSONB(none_as_null=True),
    }


IdentityKey = Annotated[int, mapped_column(BigInteger, Identity(always=True), primary_key=True)]
"""A key that only the database hands out, for tables that grow by the row."""

UuidKey = Annotated[UUID, mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))]
"""A key that the writer may choose before it writes, so that a repeated write is recognised as the same one."""

Count = Annotated[int, mapped_column(BigInteger, server_default=text("0"))]

Score = Annotated[Decimal, mapped_column(Numeric(5, 4))]
"""A share from 0 to 1. The columns still need their CHECK: the type alone admits 9.9999."""

Now = Annotated[datetime, mapped_column(server_default=text("now()"))]

Who = Annotated[str, mapped_column(server_default=text("CURRENT_USER"))]
"""A person or a service. A service that writes for people must name them: the default is the database role."""

Provider = Annotated[str, mapped_column(comment="Kind of system the data comes from, such as salesforce.")]
ObjectName = Annotated[str, mapped_column(comment="API name of the object in its provider, such as Account.")]
SourceId = Annotated[str, mapped_column(comment="Id of the record in its provider, exactly as the provider writes it.")]


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """Restrict a text column to the values of an enum.

    Text with a CHECK is preferred to a native enum type: one more value is then one constraint swapped in a
    transaction, and its downgrade swaps it back, while PostgreSQL cannot remove a value from an enum type at all.
    """
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)
