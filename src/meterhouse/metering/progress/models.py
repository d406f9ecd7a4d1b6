"""The table of tracked queries. It is in Postgres, so any process can tell of a query that another one runs."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.kernel.db import Base


class QueryProgressRow(Base):
    """The latest query of a client. `total` counts the events in question; `updated_at` is when it began or ended."""

    __tablename__ = "query_progress"
    __table_args__ = (
        Index("ix_query_progress_updated_at", "updated_at"),
        CheckConstraint("total >= 0", name="total_not_negative"),
    )

    namespace: Mapped[str] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(primary_key=True)
    mark: Mapped[str]
    total: Mapped[int] = mapped_column(BigInteger)
    done: Mapped[bool]
    updated_at: Mapped[datetime]
