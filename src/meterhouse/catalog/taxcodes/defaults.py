"""The tax codes that every namespace starts with, and its defaults among them (catalog-extras sections 1.4 and 1.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from meterhouse.catalog.models import TaxCodeRow, TaxDefaultsRow
from meterhouse.catalog.repository import taxcodes as repository
from meterhouse.catalog.taxcodes.taxcode import STRIPE, checked
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import InvalidInput, Issue, NotFound
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.locks import lock


@dataclass(frozen=True, slots=True)
class TaxDefaults:
    """The codes of what names none of its own: purchases of credit, and everything else that is invoiced."""

    invoicing_tax_code_id: str
    credit_grant_tax_code_id: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Seed:
    """A tax code that the system makes. Of the seeds one is the default for invoicing and one for credit grants."""

    key: str
    name: str
    description: str | None = None
    app_mappings: Mapping[str, str] = field(default_factory=dict)
    default_invoicing: bool = False
    default_credit_grant: bool = False


SEEDS = (
    Seed("default", "Provider default", default_invoicing=True),
    Seed("nontaxable", "Nontaxable", app_mappings={STRIPE: "txcd_00000000"}, default_credit_grant=True),
)


async def hold(session: WriteSession, namespace: str) -> None:
    """Keep others from making, changing or promoting tax codes of the namespace until the transaction ends."""
    await lock(session, "catalog", "tax_code", namespace)


async def default_invoicing(session: WriteSession, namespace: str) -> str:
    """Return the id of the code for everything that is invoiced without one of its own."""
    return (await _defaults(session, namespace)).invoicing_tax_code_id


async def default_credit_grant(session: WriteSession, namespace: str) -> str:
    """Return the id of the code for purchases of credit that name none."""
    return (await _defaults(session, namespace)).credit_grant_tax_code_id


async def _defaults(session: WriteSession, namespace: str) -> TaxDefaultsRow:
    return await repository.find_defaults(session, namespace) or await _provisioned(session, namespace, SEEDS)


async def provision(session: WriteSession, namespace: str, seeds: Sequence[Seed] = SEEDS) -> None:
    """Make the seeds and the defaults that the namespace lacks; what is there stays as it is.

    A user's code of a seed's key takes the seed's place.

    Raises:
        InvalidInput: the code of a seed breaks a rule.
    """
    await _provisioned(session, namespace, seeds)


async def _provisioned(session: WriteSession, namespace: str, seeds: Sequence[Seed]) -> TaxDefaultsRow:
    await hold(session, namespace)
    rows = {row.key: row for row in await repository.by_keys(session, namespace, [seed.key for seed in seeds])}
    for seed in seeds:
        if seed.key not in rows:
            mappings = checked(list(seed.app_mappings.items()))
            rows[seed.key] = new_row(namespace, seed.key, seed.name, mappings)
            rows[seed.key].description = seed.description
            rows[seed.key].managed_by_system = True
            session.add(rows[seed.key])
    await session.flush()
    defaults = await repository.find_defaults(session, namespace)
    if defaults is None:
        defaults = TaxDefaultsRow(
            namespace=namespace,
            invoicing_tax_code_id=next(rows[seed.key].id for seed in seeds if seed.default_invoicing),
            credit_grant_tax_code_id=next(rows[seed.key].id for seed in seeds if seed.default_credit_grant),
        )
        session.add(defaults)
        await session.flush()
    return defaults


def new_row(namespace: str, key: str, name: str, app_mappings: Mapping[str, str]) -> TaxCodeRow:
    """Make the row of a user's tax code."""
    return TaxCodeRow(
        id=new_id(),
        namespace=namespace,
        key=key,
        name=name,
        metadata_={},
        app_mappings=dict(app_mappings),
        managed_by_system=False,
    )


def _shown(row: TaxDefaultsRow) -> TaxDefaults:
    return TaxDefaults(row.invoicing_tax_code_id, row.credit_grant_tax_code_id, row.created_at, row.updated_at)


async def get_defaults(session: ReadSession, namespace: str) -> TaxDefaults:
    """Return the namespace's defaults.

    Raises:
        NotFound: it has none yet.
    """
    row = await repository.find_defaults(session, namespace)
    if row is None:
        message = "the organization has no default tax codes"
        raise NotFound(message, issues=[Issue("organization_default_tax_codes_not_found", message)])
    return _shown(row)


async def set_defaults(session: WriteSession, namespace: str, *, invoicing: str, credit_grant: str) -> TaxDefaults:
    """Replace the namespace's defaults.

    Raises:
        InvalidInput: one of the ids names no live tax code of the namespace, code `tax_code_not_found`.
    """
    await hold(session, namespace)
    issues = []
    for name, tax_code_id in (("invoicing_tax_code", invoicing), ("credit_grant_tax_code", credit_grant)):
        if await repository.held(session, namespace, tax_code_id) is None:
            issues.append(Issue("tax_code_not_found", f"tax code not found: {tax_code_id}", f"$.{name}.id"))
    if issues:
        raise InvalidInput("; ".join(issue.message for issue in issues), issues=issues)
    row = await repository.find_defaults(session, namespace)
    if row is None:
        row = TaxDefaultsRow(namespace=namespace)
        session.add(row)
    row.invoicing_tax_code_id, row.credit_grant_tax_code_id = invoicing, credit_grant
    await session.flush()
    return _shown(row)
