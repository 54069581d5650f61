"""${message or ""}

Revision ID: ${up_revision}
Revises: ${down_revision or "base"}
% if context.get("proposal"):
Proposal: ${proposal}
% endif
% for line in context.get("hazards") or ["none"]:
Hazard: ${line}
% endfor
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades or "pass"}


def downgrade() -> None:
    ${downgrades or "pass"}
