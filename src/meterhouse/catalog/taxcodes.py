"""Tax codes, the organization's defaults among them, and consistent tax configs (catalog-extras section 1).

Everything that makes a tax code holds the namespace's lock, so looking for a code and making it cannot race.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from meterhouse.catalog.models import TaxCodeRow, TaxDefaultsRow
from meterhouse.catalog.prices import TaxConfig
from meterhouse.catalog.repository import taxcodes as repository
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import Issue, NotFound, invalid
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.locks import lock

STRIPE = "stripe"


@dataclass(frozen=True, slots=True)
class TaxCode:
    """How a kind of good is taxed. `app_mappings` gives each app type's own code for it."""

    id: str
    namespace: str
    key: str
    name: str
    description: str | None
    metadata: Mapping[str, str]
    app_mappings: Mapping[str, str]
    managed_by_system: bool
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Seed:
    key: str
    name: str
    app_mappings: Mapping[str, str]


_INVOICING_SEED = _Seed("default", "Provider default", {})
_CREDIT_GRANT_SEED = _Seed("nontaxable", "Nontaxable", {STRIPE: "txcd_00000000"})


def _tax_code(row: TaxCodeRow) -> TaxCode:
    return TaxCode(
        id=row.id,
        namespace=row.namespace,
        key=row.key,
        name=row.name,
        description=row.description,
        metadata=row.metadata_,
        app_mappings=row.app_mappings,
        managed_by_system=row.managed_by_system,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
    )


async def get(session: ReadSession, namespace: str, tax_code_id: str) -> TaxCode:
    """Return a live tax code.

    Raises:
        NotFound: no such code in the namespace, or it is deleted.
    """
    row = await repository.find(session, namespace, tax_code_id)
    if row is None:
        message = f"tax code not found: {tax_code_id}"
        raise NotFound(message, issues=[Issue("tax_code_not_found", message)])
    return _tax_code(row)


async def exists(session: ReadSession, namespace: str, tax_code_id: str) -> bool:
    """Tell whether the namespace has a live tax code of that id."""
    return await repository.find(session, namespace, tax_code_id) is not None


async def default_invoicing(session: WriteSession, namespace: str) -> str:
    """Return the id of the code for everything that is invoiced without one of its own."""
    return (await _defaults(session, namespace)).invoicing_tax_code_id


async def default_credit_grant(session: WriteSession, namespace: str) -> str:
    """Return the id of the code for purchases of credit that name none."""
    return (await _defaults(session, namespace)).credit_grant_tax_code_id


async def _lock(session: WriteSession, namespace: str) -> None:
    await lock(session, "catalog", "tax_code", namespace)


async def _defaults(session: WriteSession, namespace: str) -> TaxDefaultsRow:
    found = await repository.find_defaults(session, namespace)
    if found is not None:
        return found
    await _lock(session, namespace)
    return await repository.find_defaults(session, namespace) or await _seed(session, namespace)


async def _seed(session: WriteSession, namespace: str) -> TaxDefaultsRow:
    seeds = (_INVOICING_SEED, _CREDIT_GRANT_SEED)
    # A user's code of the same key is left as it is and takes the seed's place.
    rows = {row.key: row for row in await repository.by_keys(session, namespace, [seed.key for seed in seeds])}
    for seed in seeds:
        if seed.key not in rows:
            rows[seed.key] = _new_row(namespace, seed.key, seed.name, seed.app_mappings, managed_by_system=True)
            session.add(rows[seed.key])
    await session.flush()
    defaults = TaxDefaultsRow(
        namespace=namespace,
        invoicing_tax_code_id=rows[_INVOICING_SEED.key].id,
        credit_grant_tax_code_id=rows[_CREDIT_GRANT_SEED.key].id,
    )
    session.add(defaults)
    await session.flush()
    return defaults


def _new_row(
    namespace: str, key: str, name: str, app_mappings: Mapping[str, str], *, managed_by_system: bool = False
) -> TaxCodeRow:
    return TaxCodeRow(
        id=new_id(),
        namespace=namespace,
        key=key,
        name=name,
        metadata_={},
        app_mappings=dict(app_mappings),
        managed_by_system=managed_by_system,
    )


async def for_provider_code(session: WriteSession, namespace: str, app_type: str, code: str) -> TaxCode:
    """Return the tax code that the provider knows as `code`; it is made when there is none (section 1.2)."""
    found = await repository.find_by_mapping(session, namespace, app_type, code)
    if found is None:
        await _lock(session, namespace)
        found = await repository.find_by_mapping(session, namespace, app_type, code)
    if found is None:
        found = await _adopt_or_create(session, namespace, app_type, code)
    return _tax_code(found)


async def _adopt_or_create(session: WriteSession, namespace: str, app_type: str, code: str) -> TaxCodeRow:
    """Make the code under the first free key; a code of such a key whose mapping was emptied is taken back."""
    key, attempt = f"{app_type}_{code}", 1
    while (taken := await repository.by_keys(session, namespace, [key])) and taken[0].app_mappings:
        attempt += 1
        key = f"{app_type}_{code}_{attempt}"
    row = taken[0] if taken else _new_row(namespace, key, code, {})
    row.app_mappings = {app_type: code}
    session.add(row)
    await session.flush()
    return row


async def resolved(
    session: WriteSession, namespace: str, config: TaxConfig, *, field: str = "$.taxConfig"
) -> TaxConfig:
    """Return the config as it is stored: tax code id and Stripe code name the same entity (section 1.3).

    `field` is where the request has the config.

    Raises:
        InvalidInput: the id names no live tax code of the namespace.
    """
    if config.tax_code_id is not None:
        row = await repository.find(session, namespace, config.tax_code_id)
        if row is None:
            message = f"tax code not found: {config.tax_code_id}"
            raise invalid(message, code="tax_code_not_found", field=f"{field}.taxCodeId")
        return config.model_copy(update={"stripe_code": row.app_mappings.get(STRIPE)})
    if config.stripe_code:
        code = await for_provider_code(session, namespace, STRIPE, config.stripe_code)
        return config.model_copy(update={"tax_code_id": code.id})
    return config


def merged(base: TaxConfig | None, override: TaxConfig | None) -> TaxConfig | None:
    """Lay `override` over `base`: behaviour by itself, code and id as one unit (section 1.3)."""
    if base is None or override is None:
        return override or base
    named = override if override.tax_code_id or override.stripe_code else base
    return TaxConfig(
        behavior=override.behavior or base.behavior, tax_code_id=named.tax_code_id, stripe_code=named.stripe_code
    )
