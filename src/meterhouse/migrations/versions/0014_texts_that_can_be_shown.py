"""Keep texts of subscriptions that can be shown"""

from collections.abc import Sequence

from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_KEY = "key ~ '^[a-z0-9]+(_[a-z0-9]+)*$' AND char_length(key) <= 64"
_TEXTS = "char_length({name}) BETWEEN 1 AND 256 AND char_length({description}) <= 1024"
_OWN = _TEXTS.format(name="name", description="description")
_OF_CARD = _TEXTS.format(name="rate_card ->> 'name'", description="rate_card ->> 'description'")
_CHECKS = (
    ("subscriptions", "texts_can_be_shown", _OWN),
    ("subscription_phases", "key_can_be_shown", _KEY),
    ("subscription_phases", "texts_can_be_shown", _OWN),
    ("subscription_items", "key_can_be_shown", _KEY),
    ("subscription_items", "texts_can_be_shown", _OF_CARD),
)


def upgrade() -> None:
    # A phase that an edit added could have any name.
    op.execute(
        "UPDATE subscription_phases SET name = CASE WHEN name = '' THEN key ELSE left(name, 256) END"
        " WHERE char_length(name) NOT BETWEEN 1 AND 256"
    )
    for table, name, check in _CHECKS:
        op.create_check_constraint(name, table, check)


def downgrade() -> None:
    for table, name, _ in _CHECKS:
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table)
