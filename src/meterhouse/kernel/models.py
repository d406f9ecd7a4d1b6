"""Tables of the kernel: the job queue and the simulated clock."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.kernel.db import Base
from meterhouse.kernel.ids import new_id


class JobRow(Base):
    """A job that is waiting, running or given up; a job that was done is deleted.

    Instants here are the database's own (`clock_timestamp()`), not those of `kernel.clock`: they measure how long to
    wait before a retry and how long a worker may be silent, which stays real time while a simulated clock stands still.

    Attributes:
        ready_at: when a worker may take the job; while it runs, when its worker counts as dead.
        claimed_at: when a worker took it; None while it waits.
        attempts: how often it was taken. Tells a worker whether the job is still its own.
        failed_at: when it was given up after its last attempt; kept for people to look at.
    """

    __tablename__ = "job"
    __table_args__ = (
        Index("ix_job_ready_at_id", "ready_at", "id", postgresql_where=text("failed_at IS NULL")),
        Index(
            "ix_job_name_dedupe_key",
            "name",
            "dedupe_key",
            postgresql_where=text("dedupe_key IS NOT NULL AND claimed_at IS NULL AND failed_at IS NULL"),
        ),
        CheckConstraint("failed_at IS NULL OR claimed_at IS NULL", name="failed_is_not_claimed"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    payload: Mapped[dict[str, str]]
    dedupe_key: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    ready_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    claimed_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    last_error: Mapped[str | None]
    failed_at: Mapped[datetime | None]


class SimulatedInstantRow(Base):
    """Where the simulated clock stands: at most one row, and none on a server that runs on real time."""

    __tablename__ = "test_clock"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    now: Mapped[datetime]
