"""Validation issues of an invoice (billing section 7)."""

import hashlib
from collections.abc import Collection, Sequence

import orjson

from meterhouse.billing.errors import code_of
from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.models import InvoiceIssueRow
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import DomainError, Issue, Severity

OPENMETER = "openmeter"
METERING = "openmeter.metering"
LINE_ENGINES = ("openmeter.lineengine.charge_usagebased", "openmeter.lineengine.charge_flatfee")


def engine_component(engine: str) -> str:
    """Name the part of the system behind an engine's issues."""
    return f"openmeter.lineengine.{engine}"


def app_component(app_type: str, operation: str) -> str:
    """Name the part of the system behind an app's issues; paying is a capability of its own."""
    capability = "collectPayments" if operation == "initiate_payment" else "invoiceCustomers"
    return f"app.{app_type}.{capability}.{operation}"


class StepFailed(DomainError):
    """A step of the life cycle failed for a reason that belongs on the invoice."""

    def __init__(self, issue: Issue) -> None:
        super().__init__(issue.message, issues=[issue])
        self.issue = issue


def issue_of(error: DomainError, *, component: str, code: str) -> Issue:
    """Turn a failure into a critical issue; the error's own code wins over `code`."""
    if isinstance(error, StepFailed):
        return error.issue
    return Issue(code_of(error) or code, error.message, component=component)


def identity(issue: Issue) -> str:
    """Return the digest by which equal issues are recognised."""
    parts = [issue.severity.value, issue.code, issue.message, issue.component, issue.field]
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


async def replace(session: WriteSession, invoice_id: str, components: Collection[str], found: Sequence[Issue]) -> None:
    """Make `found` the only live issues of `components`: equal ones stay, vanished ones are soft-deleted."""
    wanted = {identity(issue): issue for issue in found}
    for row in await repository.issues(session, [invoice_id]):
        if row.identity in wanted:
            del wanted[row.identity]
        elif row.component in components:
            row.deleted_at = clock.now()
    for digest, issue in wanted.items():
        session.add(
            InvoiceIssueRow(
                invoice_id=invoice_id,
                identity=digest,
                severity=issue.severity.value,
                code=issue.code or None,
                message=issue.message,
                component=issue.component or OPENMETER,
                path=issue.field,
                attributes=dict(issue.attributes),
            )
        )
    await session.flush()


async def lower(session: WriteSession, invoice_id: str) -> None:
    """Turn critical issues into warnings, before a retry."""
    rows = await repository.issues(session, [invoice_id])
    known = {row.identity for row in rows}
    for row in rows:
        if row.severity != Severity.CRITICAL.value:
            continue
        lowered = identity(Issue(row.code or "", row.message, row.path, Severity.WARNING, row.component))
        if lowered in known:
            row.deleted_at = clock.now()
        else:
            row.severity, row.identity = Severity.WARNING.value, lowered
    await session.flush()


async def clear(session: WriteSession, invoice_id: str) -> None:
    """Remove every issue, before a deletion."""
    for row in await repository.issues(session, [invoice_id]):
        row.deleted_at = clock.now()
    await session.flush()
