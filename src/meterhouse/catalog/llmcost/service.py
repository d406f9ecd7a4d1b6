"""Prices of language models and a namespace's overrides of them (catalog-extras sections 4.2 and 4.3)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from meterhouse.catalog.llmcost import repository
from meterhouse.catalog.llmcost.models import LLMPriceRow
from meterhouse.catalog.llmcost.names import MAX_NAME, can_have_price, model_key, provider_key
from meterhouse.catalog.llmcost.price import LLMPrice, Pricing
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Condition, Sort
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import InvalidInput, Issue, NotFound
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.locks import lock
from meterhouse.kernel.pages import Page, PageRequest

SORT_FIELDS = ("id", "provider.id", "model.id", "effective_from", "effective_to")


@dataclass(frozen=True, slots=True)
class NewOverride:
    """What an override is created from. Without a name the model is called by its id."""

    provider: str
    model_id: str
    pricing: Pricing
    currency: str
    effective_from: datetime
    effective_to: datetime | None = None
    model_name: str | None = None


@dataclass(frozen=True, slots=True)
class PriceQuery:
    """Which page of which prices. Conditions are on provider, model_id, model_name, currency and source."""

    conditions: Mapping[str, Condition] = field(default_factory=dict)
    sorts: Sequence[Sort] = (Sort("model.id"),)
    page: PageRequest = field(default_factory=PageRequest)


def _not_found(price_id: str) -> NotFound:
    message = f"price not found: {price_id}"
    return NotFound(message, issues=[Issue("llm_cost_price_not_found", message)])


async def list_prices(session: ReadSession, namespace: str, query: PriceQuery) -> Page[LLMPrice]:
    """Return a page of the prices in force now: an override stands in place of everybody's price."""
    rows, total = await repository.listed(
        session, namespace, clock.now(), query.page, conditions=query.conditions, sorts=query.sorts
    )
    return Page(rows, total, query.page).map(LLMPrice.of)


async def get_price(session: ReadSession, namespace: str, price_id: str) -> LLMPrice:
    """Return a price, or the override that holds now in its place.

    Raises:
        NotFound: there is none of that id, or it is another namespace's.
    """
    row = await repository.find(session, namespace, price_id)
    if row is None or row.deleted_at is not None:
        raise _not_found(price_id)
    if row.namespace is None:
        key = (row.provider_key, row.model_key)
        found = await repository.in_force(session, namespace, [key], clock.now())
        row = next((one for one in found if one.namespace is not None), row)
    return LLMPrice.of(row)


def _keys(models: Collection[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (provider, model): (provider_key(provider), model_key(model))
        for provider, model in models
        if can_have_price(provider) and can_have_price(model)
    }


async def resolve(
    session: ReadSession, namespace: str, models: Collection[tuple[str, str]], at: datetime
) -> dict[tuple[str, str], LLMPrice]:
    """Return by provider and model, both named in any way, what holds for them at an instant (section 4.3).

    An override is before everybody's price, what was not deleted since before what was, and what began later before
    what began earlier.
    """
    keys = _keys(models)
    if not keys:
        return {}
    rows = await repository.in_force(session, namespace, set(keys.values()), at)
    strongest = {(row.provider_key, row.model_key): row for row in rows}
    return {model: LLMPrice.of(strongest[key]) for model, key in keys.items() if key in strongest}


async def changes(
    session: ReadSession,
    namespace: str,
    models: Collection[tuple[str, str]],
    start: datetime | None,
    end: datetime | None,
) -> list[datetime]:
    """Return the instants within a range at which what holds for those models may change, in order."""
    keys = set(_keys(models).values())
    found = await repository.bounds(session, namespace, keys) if keys else []
    instants = {at for bounds in found for at in bounds if at is not None}
    return sorted(at for at in instants if (start is None or at > start) and (end is None or at < end))


async def list_overrides(
    session: ReadSession, namespace: str, page: PageRequest, *, conditions: Mapping[str, Condition]
) -> Page[LLMPrice]:
    """Return a page of the overrides by provider and model, those too that hold later or no more."""
    rows, total = await repository.listed_overrides(session, namespace, page, conditions=conditions)
    return Page(rows, total, page).map(LLMPrice.of)


async def create_override(session: WriteSession, namespace: str, new: NewOverride) -> LLMPrice:
    """Set the namespace's own price for a model; from now on it takes the place of an earlier override.

    Raises:
        InvalidInput: codes `llm_cost_*`: an empty or overlong name, a negative price, an end before the start.
    """
    _check(new)
    key = (provider_key(new.provider), model_key(new.model_id))
    await lock(session, "catalog", "llm_prices", namespace)
    earlier = await repository.override_of(session, namespace, *key)
    if earlier is not None:
        earlier.deleted_at = clock.now()
        await session.flush()
    row = LLMPriceRow(
        id=new_id(),
        namespace=namespace,
        provider=new.provider,
        provider_key=key[0],
        model_id=new.model_id,
        model_key=key[1],
        model_name=new.model_name or new.model_id,
        **asdict(new.pricing),
        currency=new.currency,
        effective_from=new.effective_from,
        effective_to=new.effective_to,
    )
    session.add(row)
    await session.flush()
    return LLMPrice.of(row)


def _check(new: NewOverride) -> None:
    issues = []
    for name, text in (("provider", new.provider), ("model_id", new.model_id)):
        if not text.strip():
            issues.append(Issue(f"llm_cost_{name}_empty", f"{name} must not be empty", f"$.{name}"))
        if len(text) > MAX_NAME:
            message = f"{name} must have at most {MAX_NAME} characters"
            issues.append(Issue(f"llm_cost_{name}_too_long", message, f"$.{name}"))
    for name, price in new.pricing.members():
        if price is not None and price < 0:
            message = f"{name} must not be negative"
            issues.append(Issue("llm_cost_price_negative", message, f"$.pricing.{name}"))
    if new.effective_to is not None and new.effective_to < new.effective_from:
        message = "the end must not be before the start"
        issues.append(Issue("llm_cost_effective_period_invalid", message, "$.effective_to"))
    if issues:
        raise InvalidInput("; ".join(issue.message for issue in issues), issues=issues)


async def delete_override(session: WriteSession, namespace: str, price_id: str) -> None:
    """Delete an override, so that everybody's price holds again from now on; a second time does nothing.

    Raises:
        NotFound: the namespace never had an override of that id.
    """
    row = await repository.find(session, namespace, price_id)
    if row is None or row.namespace is None:
        raise _not_found(price_id)
    if row.deleted_at is None:
        row.deleted_at = clock.now()
        await session.flush()
