"""The life of a charge as data: detailed statuses, triggers, and what leads where (charges sections 2 to 4)."""

from enum import StrEnum


class PublicStatus(StrEnum):
    """The status that the wire shows and filters by."""

    CREATED = "created"
    ACTIVE = "active"
    FINAL = "final"
    DELETED = "deleted"


class Status(StrEnum):
    """The detailed status. Those between `started` and `completed` accompany one run."""

    CREATED = "created"
    ACTIVE = "active"
    STARTED = "active.realization.started"
    WAITING = "active.realization.waiting_for_collection"
    PROCESSING = "active.realization.processing"
    ISSUING = "active.realization.issuing"
    COMPLETED = "active.realization.completed"
    AWAITING_PAYMENT = "active.awaiting_payment_settlement"
    FINAL = "final"
    DELETED = "deleted"

    @property
    def public(self) -> PublicStatus:
        """The first segment."""
        return PublicStatus(self.value.partition(".")[0])
