"""Automatic collection of due lines and automatic advance of invoices (billing section 11).

Both find their work by `invoices.work_at`, which every change of an invoice keeps up to date, and handle each invoice
in transactions of its own. After an attempt `work_at` lies in the future or is gone, whatever happened.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import structlog

from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.models import GATHERING, STANDARD
from meterhouse.billing.invoices.selection import NothingToBill
from meterhouse.billing.invoices.service import Invoices
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.jobs import DueWork

log = structlog.get_logger(__name__)

BATCH = 100  # invoices listed per query; all that is due is handled, batch by batch
PARALLEL = 4  # customers handled at once: leaves most of the connection pool to requests


class Collection:
    """The automatic work on invoices of all namespaces."""

    def __init__(self, db: Database, invoices: Invoices) -> None:
        self._db = db
        self._invoices = invoices

    def due_work(self) -> list[DueWork]:
        """Return what the scheduler runs."""
        return [
            DueWork("billing.collect", lambda: self._next(GATHERING), lambda: self._run(GATHERING, self._collect)),
            DueWork("billing.advance", lambda: self._next(STANDARD), lambda: self._run(STANDARD, self._advance)),
        ]

    async def _next(self, kind: str) -> datetime | None:
        async with self._db.read() as session:
            return await repository.next_work(session, kind)

    async def _run(self, kind: str, handle: Callable[[str, str, str], Awaitable[None]]) -> int:
        handled: set[str] = set()
        while True:
            async with self._db.read() as session:
                due = await repository.due_work(session, kind, clock.now(), BATCH)
            fresh = [item for item in due if item[2] not in handled]
            if not fresh:
                return len(handled)
            handled.update(invoice_id for _, _, invoice_id in fresh)
            await _by_customer(fresh, handle)

    async def _collect(self, namespace: str, customer_id: str, invoice_id: str) -> None:
        until: datetime | None = None
        made: list[str] = []
        try:
            async with self._db.write() as session:
                made = await self._invoices.collect(session, namespace, customer_id, invoice_id)
        except NothingToBill as refusal:
            until = refusal.next_billable_at
            log.info("nothing to collect", namespace=namespace, customer_id=customer_id, **refusal.extensions)
        except Exception:  # one customer's failure must not keep the others from being billed
            log.exception("collection failed", namespace=namespace, customer_id=customer_id)
        await self._postpone(namespace, invoice_id, until)
        for created in made:
            await self._advance(namespace, customer_id, created)

    async def _advance(self, namespace: str, customer_id: str, invoice_id: str) -> None:
        try:
            async with self._db.write() as session:
                await self._invoices.advance_due(session, namespace, invoice_id)
        except Exception:  # one invoice's failure must not keep the others from going on
            log.exception("advance failed", namespace=namespace, customer_id=customer_id, invoice_id=invoice_id)
            await self._postpone(namespace, invoice_id, None)

    async def _postpone(self, namespace: str, invoice_id: str, until: datetime | None) -> None:
        async with self._db.write() as session:
            await self._invoices.postpone(session, namespace, invoice_id, until=until)


async def _by_customer(
    items: Sequence[tuple[str, str, str]], handle: Callable[[str, str, str], Awaitable[None]]
) -> None:
    """Handle customers in parallel, and the invoices of one customer, who has one lock, in their order."""
    customers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for namespace, customer_id, invoice_id in items:
        customers[namespace, customer_id].append(invoice_id)
    gate = asyncio.Semaphore(PARALLEL)

    async def one(namespace: str, customer_id: str, invoice_ids: list[str]) -> None:
        async with gate:
            for invoice_id in invoice_ids:
                try:
                    await handle(namespace, customer_id, invoice_id)
                except Exception:  # also where its failure could not be noted, the others go on; the next tick retries
                    log.exception("invoice not handled", customer_id=customer_id, invoice_id=invoice_id)

    async with asyncio.TaskGroup() as group:
        for (namespace, customer_id), invoice_ids in customers.items():
            group.create_task(one(namespace, customer_id, invoice_ids))
