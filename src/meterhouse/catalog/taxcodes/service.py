"""Making, changing and deleting tax codes (catalog-extras sections 1.1 and 1.4)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from meterhouse.catalog.models import TaxCodeRow
from meterhouse.catalog.repository import taxcodes as repository
from meterhouse.catalog.taxcodes.defaults import hold, new_row
from meterhouse.catalog.taxcodes.taxcode import Mappings, NewTaxCode, TaxCode, checked
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import Conflict, Issue, NotFound
from meterhouse.kernel.pages import Page, PageRequest

# Tells what still needs a tax code (session, namespace, id), or None. Those that sell something bring their own.
TaxCodeUse = Callable[[ReadSession, str, str], Awaitable[str | None]]


async def get(session: ReadSession, namespace: str, tax_code_id: str) -> TaxCode:
    """Return a live tax code.

    Raises:
        NotFound: no such code in the namespace, or it is deleted.
    """
    return TaxCode.of(await _live(session, namespace, tax_code_id))


async def _live(session: ReadSession, namespace: str, tax_code_id: str) -> TaxCodeRow:
    row = await repository.find(session, namespace, tax_code_id)
    if row is None:
        raise _not_found(tax_code_id)
    return row


def _not_found(tax_code_id: str) -> NotFound:
    message = f"tax code not found: {tax_code_id}"
    return NotFound(message, issues=[Issue("tax_code_not_found", message)])


async def exists(session: ReadSession, namespace: str, tax_code_id: str, *, deleted_too: bool = False) -> bool:
    """Tell whether the namespace has a live tax code of that id, or had one."""
    return await repository.find(session, namespace, tax_code_id, deleted_too=deleted_too) is not None


async def list_tax_codes(
    session: ReadSession, namespace: str, page: PageRequest, *, include_deleted: bool = False
) -> Page[TaxCode]:
    """Return a page of the tax codes, the oldest first."""
    rows, total = await repository.listed(session, namespace, page, include_deleted=include_deleted)
    return Page(rows, total, page).map(TaxCode.of)


async def create(session: WriteSession, namespace: str, new: NewTaxCode) -> TaxCode:
    """Create a tax code.

    Raises:
        InvalidInput: a mapping breaks a rule.
        Conflict: a live tax code has the key.
    """
    mappings = checked(new.app_mappings)
    await hold(session, namespace)
    if await repository.by_keys(session, namespace, [new.key]):
        raise Conflict(f"tax code with key {new.key} already exists")
    row = new_row(namespace, new.key, new.name, mappings)
    row.description = new.description
    row.metadata_ = dict(new.metadata)
    session.add(row)
    await session.flush()
    return TaxCode.of(row)


async def update(
    session: WriteSession,
    namespace: str,
    tax_code_id: str,
    *,
    name: str,
    description: str | None,
    metadata: Mapping[str, str],
    app_mappings: Mappings,
) -> TaxCode:
    """Replace everything about a tax code but its key; a description of None keeps the present one.

    Raises:
        NotFound: there is no such live tax code.
        InvalidInput: a mapping breaks a rule.
        Conflict: the tax code is the system's own, code `tax_code_managed_by_system`.
    """
    mappings = checked(app_mappings)
    await hold(session, namespace)
    row = await _live(session, namespace, tax_code_id)
    _check_users(row)
    row.name = name
    row.description = row.description if description is None else description
    row.metadata_ = dict(metadata)
    row.app_mappings = mappings
    await session.flush()
    return TaxCode.of(row)


async def delete(session: WriteSession, namespace: str, tax_code_id: str, *, uses: Sequence[TaxCodeUse]) -> None:
    """Delete a tax code, which frees its key. What was sold with it goes on showing it.

    Raises:
        NotFound: there is no such live tax code.
        Conflict: it is the system's own, a default of the organization, or one of `uses` needs it; codes
            `tax_code_managed_by_system`, `tax_code_is_organization_default`, `tax_code_in_use`.
    """
    row = await repository.to_delete(session, namespace, tax_code_id)
    if row is None:
        raise _not_found(tax_code_id)
    _check_users(row)
    defaults = await repository.find_defaults(session, namespace)
    if defaults is not None and row.id in (defaults.invoicing_tax_code_id, defaults.credit_grant_tax_code_id):
        message = f"tax code {row.key} is a default of the organization"
        raise _conflict("tax_code_is_organization_default", message)
    for use in uses:
        reason = await use(session, namespace, row.id)
        if reason is not None:
            raise _conflict("tax_code_in_use", f"tax code {row.key} cannot be deleted: {reason}")
    row.deleted_at = clock.now()
    await session.flush()


def _check_users(row: TaxCodeRow) -> None:
    if row.managed_by_system:
        raise _conflict("tax_code_managed_by_system", f"tax code {row.key} is managed by the system")


def _conflict(code: str, message: str) -> Conflict:
    return Conflict(message, issues=[Issue(code, message)])
