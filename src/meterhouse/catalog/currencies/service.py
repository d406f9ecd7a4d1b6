"""Custom currencies and their cost bases (catalog-extras section 3)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from sqlalchemy.exc import IntegrityError

from meterhouse.catalog.currencies import repository
from meterhouse.catalog.currencies.currency import CostBasis, CurrencyType, CustomCurrency
from meterhouse.catalog.currencies.models import CostBasisRow, CurrencyRow
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Condition, Sort
from meterhouse.kernel.db import ReadSession, WriteSession, violated
from meterhouse.kernel.errors import Conflict, NotFound, invalid
from meterhouse.kernel.fiat import FIAT, Fiat
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.money import is_fiat
from meterhouse.kernel.pages import Page, PageRequest

FIAT_LENGTH = 3
MIN_CODE, MAX_CODE = 4, 24
MAX_PRECISION = 12
# Built-in codes of currencies that are no money of a state: they cannot be taken for custom ones.
RESERVED_CODES = frozenset({"USDC"})


@dataclass(frozen=True, slots=True)
class NewCurrency:
    """What a custom currency is created from."""

    code: str
    name: str
    precision: int
    decimal_mark: str
    thousand_separator: str
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class NewCostBasis:
    """What a cost basis is created from. Without `effective_from` it holds from now on."""

    fiat_code: str
    rate: Decimal
    effective_from: datetime | None = None
    effective_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class CurrencyQuery:
    """Which stretch of which currencies. Orders are by code or name."""

    types: Collection[CurrencyType] = tuple(CurrencyType)
    code: Condition | None = None
    sorts: Sequence[Sort] = (Sort("code"),)
    offset: int = 0
    limit: int = 100


async def check(session: ReadSession, namespace: str, code: str, *, field: str = "$.currency") -> CustomCurrency | None:
    """Return the custom currency of a code, None for a fiat one.

    Raises:
        InvalidInput: code `currency_invalid` for what cannot be a currency, `currency_not_found` for an unknown one.
    """
    if is_fiat(code):
        return None
    if len(code) <= FIAT_LENGTH:
        raise invalid(f"invalid currency: {code}", code="currency_invalid", field=field)
    found = await known(session, namespace, [code])
    if code not in found:
        raise invalid(f"currency not found: {code}", code="currency_not_found", field=field)
    return found[code]


async def known(session: ReadSession, namespace: str, codes: Collection[str]) -> dict[str, CustomCurrency]:
    """Return those of the codes that are custom currencies, in one query or none."""
    custom = {code for code in codes if not is_fiat(code)}
    if not custom:
        return {}
    return {row.code: CustomCurrency.of(row) for row in await repository.by_codes(session, namespace, custom)}


async def with_cost_basis(
    session: ReadSession, namespace: str, codes: Collection[str], fiat_code: str, at: datetime
) -> frozenset[str]:
    """Return those of the custom codes that are worth something in the fiat at that instant."""
    if not codes:
        return frozenset()
    return frozenset(await repository.codes_with_basis(session, namespace, codes, fiat_code, at))


async def get(session: ReadSession, namespace: str, currency_id: str) -> CustomCurrency:
    """Return a custom currency.

    Raises:
        NotFound: there is none of that id.
    """
    return CustomCurrency.of(await _row(session, namespace, currency_id))


async def _row(session: ReadSession, namespace: str, currency_id: str, *, for_update: bool = False) -> CurrencyRow:
    row = await repository.find(session, namespace, currency_id, for_update=for_update)
    if row is None:
        raise NotFound(f"currency not found: {currency_id}")
    return row


async def list_currencies(
    session: ReadSession, namespace: str, query: CurrencyQuery
) -> tuple[list[Fiat | CustomCurrency], int]:
    """Return a stretch of fiat and custom currencies in one order, and how many match in all."""
    found, total = await repository.listed(
        session,
        namespace,
        types=query.types,
        code=query.code,
        sorts=query.sorts,
        offset=query.offset,
        limit=query.limit,
    )
    return [FIAT[code] if row is None else CustomCurrency.of(row) for code, row in found], total


async def create(session: WriteSession, namespace: str, new: NewCurrency) -> CustomCurrency:
    """Create a custom currency. It cannot be changed afterwards.

    Raises:
        InvalidInput: code or precision break a rule.
        Conflict: the namespace has a currency of that code.
    """
    _check_new(new)
    row = CurrencyRow(
        id=new_id(),
        namespace=namespace,
        code=new.code,
        name=new.name,
        symbol=new.symbol or None,
        precision=new.precision,
        decimal_mark=new.decimal_mark,
        thousand_separator=new.thousand_separator,
    )
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        if violated(error) != "uq_custom_currencies_code":
            raise
        raise Conflict(f"currency with code {new.code} already exists") from None
    return CustomCurrency.of(row)


def _check_new(new: NewCurrency) -> None:
    if not MIN_CODE <= len(new.code) <= MAX_CODE:
        raise invalid(f"the code must have {MIN_CODE} to {MAX_CODE} characters", field="$.code")
    if new.code != new.code.strip() or "|" in new.code:
        raise invalid("the code must neither begin nor end with a space, nor hold a vertical bar", field="$.code")
    if new.code in RESERVED_CODES:
        raise invalid(f"{new.code} is a built-in currency", field="$.code")
    if not 0 <= new.precision <= MAX_PRECISION:
        raise invalid(f"the precision must be from 0 to {MAX_PRECISION}", field="$.precision")


async def create_cost_basis(session: WriteSession, namespace: str, currency_id: str, new: NewCostBasis) -> CostBasis:
    """Say what a currency is worth in a fiat, from now on or from an instant in the future (section 3.3).

    What holds at that instant ends there; what is to begin later ends the new one, unless its end is given.

    Raises:
        NotFound: there is no such currency.
        InvalidInput: no fiat code, a rate that is not positive, a start that is not in the future, an end that does
            not follow the start.
        Conflict: a cost basis with the same start.
    """
    # The lock of the currency's row keeps two requests from overlooking each other's entry.
    await _row(session, namespace, currency_id, for_update=True)
    now = clock.now()
    start = new.effective_from or now
    _check_basis(new, start, now)
    present = await repository.bases_of(session, currency_id, new.fiat_code)
    if any(one.effective_from == start for one in present):
        raise Conflict(f"there is already a cost basis in {new.fiat_code} from {start.isoformat()}")
    for one in present:
        if one.effective_from < start and (one.effective_to is None or one.effective_to > start):
            one.effective_to = start
    later = [one.effective_from for one in present if one.effective_from > start]
    row = CostBasisRow(
        id=new_id(),
        currency_id=currency_id,
        fiat_code=new.fiat_code,
        rate=new.rate,
        effective_from=start,
        effective_to=new.effective_to or min(later, default=None),
    )
    session.add(row)
    await session.flush()
    return CostBasis.of(row)


def _check_basis(new: NewCostBasis, start: datetime, now: datetime) -> None:
    if not is_fiat(new.fiat_code):
        raise invalid(f"invalid currency: {new.fiat_code}", code="currency_invalid", field="$.fiat_code")
    if new.rate <= 0:
        raise invalid("the rate must be positive", field="$.rate")
    if new.effective_from is not None and new.effective_from <= now:
        raise invalid("the start must be in the future; leave it out to begin now", field="$.effective_from")
    if new.effective_to is not None and new.effective_to <= start:
        raise invalid("the end must be after the start", field="$.effective_to")


async def cost_basis_at(
    session: ReadSession, namespace: str, currency_id: str, fiat_code: str, at: datetime
) -> CostBasis:
    """Return what a currency is worth in a fiat at an instant.

    Raises:
        NotFound: there is no such currency, or it is worth nothing then.
    """
    await _row(session, namespace, currency_id)
    row = await repository.basis_at(session, currency_id, fiat_code, at)
    if row is None:
        raise NotFound(f"no cost basis of {currency_id} in {fiat_code} at {at.isoformat()}")
    return CostBasis.of(row)


async def current_cost_bases(
    session: ReadSession, currencies: Collection[CustomCurrency]
) -> Mapping[str, Sequence[CostBasis]]:
    """Return by currency id what the currencies are worth now and are to be worth later."""
    found: dict[str, list[CostBasis]] = {one.id: [] for one in currencies}
    for row in await repository.not_over(session, found.keys(), clock.now()):
        found[row.currency_id].append(CostBasis.of(row))
    return found


async def list_cost_bases(
    session: ReadSession,
    namespace: str,
    currency_id: str,
    page: PageRequest,
    *,
    conditions: Mapping[str, Condition] = MappingProxyType({}),
) -> Page[CostBasis]:
    """Return a page of a currency's cost bases, past ones too, the latest to begin first.

    Conditions are on fiat_code.

    Raises:
        NotFound: there is no such currency.
    """
    await _row(session, namespace, currency_id)
    rows, total = await repository.listed_bases(session, currency_id, page, conditions=conditions)
    return Page(rows, total, page).map(CostBasis.of)
