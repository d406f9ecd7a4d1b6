"""Consistent tax configs: a tax code and the provider's code for it (catalog-extras sections 1.2 and 1.3)."""

from collections.abc import Collection, Mapping

from meterhouse.catalog.models import TaxCodeRow
from meterhouse.catalog.prices import TaxConfig
from meterhouse.catalog.repository import taxcodes as repository
from meterhouse.catalog.taxcodes.defaults import hold, new_row
from meterhouse.catalog.taxcodes.taxcode import STRIPE, TaxCode, code_issue
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import InvalidInput, invalid


async def for_provider_code(session: WriteSession, namespace: str, app_type: str, code: str) -> TaxCode:
    """Return the tax code that the provider knows as `code`; it is made when there is none (section 1.2).

    It is not deleted before the transaction ends.
    """
    found = await repository.find_by_mapping(session, namespace, app_type, code)
    if found is None:
        # Every maker holds the namespace's lock, so looking for a code and making it cannot race.
        await hold(session, namespace)
        found = await repository.find_by_mapping(session, namespace, app_type, code)
    if found is None:
        found = await _adopt_or_create(session, namespace, app_type, code)
    return TaxCode.of(found)


async def _adopt_or_create(session: WriteSession, namespace: str, app_type: str, code: str) -> TaxCodeRow:
    """Make the code under the first free key; a code of such a key whose mapping was emptied is taken back."""
    key, attempt = f"{app_type}_{code}", 1
    while (taken := await repository.by_keys(session, namespace, [key])) and taken[0].app_mappings:
        attempt += 1
        key = f"{app_type}_{code}_{attempt}"
    row = taken[0] if taken else new_row(namespace, key, code, {})
    row.app_mappings = {app_type: code}
    session.add(row)
    await session.flush()
    return row


async def resolved(
    session: WriteSession, namespace: str, config: TaxConfig, *, field: str = "$.taxConfig", kept: bool = False
) -> TaxConfig:
    """Return the config as it is stored: tax code id and Stripe code name the same entity (section 1.3).

    Args:
        field: where the request has the config.
        kept: the config was stored before: a tax code that was deleted meanwhile still counts.

    Raises:
        InvalidInput: the id names no live tax code of the namespace, or the code is none of Stripe's.
    """
    if config.tax_code_id is not None:
        if kept:
            row = await repository.find(session, namespace, config.tax_code_id, deleted_too=True)
        else:
            # Not deleted before what is sold with it is stored and can be found.
            row = await repository.held(session, namespace, config.tax_code_id)
        if row is None:
            message = f"tax code not found: {config.tax_code_id}"
            raise invalid(message, code="tax_code_not_found", field=f"{field}.taxCodeId")
        return config.model_copy(update={"stripe_code": row.app_mappings.get(STRIPE)})
    if config.stripe_code:
        issue = code_issue(STRIPE, config.stripe_code, f"{field}.stripe.code")
        if issue is not None:
            raise InvalidInput(issue.message, issues=[issue])
        code = await for_provider_code(session, namespace, STRIPE, config.stripe_code)
        return config.model_copy(update={"tax_code_id": code.id})
    return config


async def filled(session: ReadSession, namespace: str, configs: Collection[TaxConfig]) -> Mapping[TaxConfig, TaxConfig]:
    """Return by stored config what is shown: a Stripe code that its tax code was given later is added.

    Needs one query, or none when nothing is missing.
    """
    missing = {config.tax_code_id for config in configs if config.tax_code_id and not config.stripe_code}
    codes = await repository.by_ids(session, namespace, missing - {None}) if missing else []
    stripe = {row.id: row.app_mappings.get(STRIPE) for row in codes}
    return {
        config: config
        if config.stripe_code or config.tax_code_id is None
        else config.model_copy(update={"stripe_code": stripe.get(config.tax_code_id)})
        for config in configs
    }


def merged(base: TaxConfig | None, override: TaxConfig | None) -> TaxConfig | None:
    """Lay `override` over `base`: behaviour by itself, code and id as one unit (section 1.3)."""
    if base is None or override is None:
        return override or base
    named = override if override.tax_code_id or override.stripe_code else base
    return TaxConfig(
        behavior=override.behavior or base.behavior, tax_code_id=named.tax_code_id, stripe_code=named.stripe_code
    )
