"""Price lists of language models: reading them, and what several of them agree on (catalog-extras section 4.5).

Two forms are read, as JSON or YAML. The form of this project, per million tokens and in USD:

    format: 1
    prices:
      - provider: openai
        model: gpt-4o
        name: GPT-4o              # optional, the model's id when absent
        effective_from: 2024-10-02   # optional, the instant of reading when absent
        input: "2.50"
        output: "10.00"
        cache_read: "1.25"        # optional, as are cache_write and reasoning

And the catalogue form of models.dev: an object of providers, each with `models`, each with `cost` per million tokens.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from meterhouse.catalog.llmcost.names import MAX_NAME, can_have_price, model_key, provider_key
from meterhouse.catalog.llmcost.price import Pricing
from meterhouse.kernel.errors import InvalidInput

_PER = Decimal(1_000_000)
DEFAULT_TOLERANCE = Decimal("0.01")
# Nobody sells a million tokens for more: a higher number is a mistake of the list.
_MAX_PER_MILLION = Decimal(1_000_000)

_Amount = Annotated[Decimal, Field(ge=0, le=_MAX_PER_MILLION, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Quote:
    """A price per token that a list names; provider and model as it calls them."""

    provider: str
    model: str
    name: str
    pricing: Pricing
    effective_from: datetime | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What provider and model are found by."""
        return provider_key(self.provider), model_key(self.model)


def _storable(name: str) -> str:
    if not can_have_price(name):
        raise ValueError(f"must have at most {MAX_NAME} characters, all of them ones that can be stored")
    return name


_Name = Annotated[str, Field(min_length=1), AfterValidator(_storable)]


class _Cost(BaseModel):
    input: _Amount
    output: _Amount
    cache_read: _Amount | None = None
    cache_write: _Amount | None = None
    reasoning: _Amount | None = None

    def pricing(self) -> Pricing:
        """Return the prices of one token."""
        given = {name: getattr(self, name) for name in _Cost.model_fields}
        per_token: dict[str, Any] = {
            f"{name}_per_token": None if price is None else price / _PER for name, price in given.items()
        }
        return Pricing(**per_token)


class _Entry(_Cost):
    model_config = ConfigDict(extra="forbid")

    provider: _Name
    model: _Name
    name: _Name | None = None
    effective_from: date | None = None

    def quote(self) -> Quote:
        """Return what it says of one token."""
        day = self.effective_from
        start = datetime.combine(day, time(), UTC) if day is not None else None
        return Quote(self.provider, self.model, self.name or self.model, self.pricing(), start)


class _List(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal["1"]
    prices: list[_Entry]


def read(text: str, *, origin: str) -> list[Quote]:
    """Read a price list; `origin` is where it comes from, for what is told of it.

    Entries of the catalogue form that have no input or output price, or a name that cannot be stored, are left out.

    Raises:
        InvalidInput: it has neither form, or an entry of this project's form is wrong.
    """
    document = _document(text, origin)
    if not isinstance(document, dict):
        raise InvalidInput(f"{origin}: is no price list")
    found = list(_listed(document, origin) if "prices" in document else _catalogued(document))
    if not found:
        raise InvalidInput(f"{origin}: names no prices")
    return found


def _document(text: str, origin: str) -> object:
    try:
        # Numbers stay text, so that prices are what is written; so do they in YAML read by the base loader.
        return json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidInput(f"{origin}: is neither JSON nor YAML: {error}") from None


def _listed(document: Mapping[str, Any], origin: str) -> Iterator[Quote]:
    try:
        listed = _List.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{origin}: {place}: {first['msg']}") from None
    for entry in listed.prices:
        yield entry.quote()


def _catalogued(document: Mapping[str, Any]) -> Iterator[Quote]:
    for provider, described in document.items():
        models = described.get("models") if isinstance(described, dict) else None
        for model, facts in (models if isinstance(models, dict) else {}).items():
            cost = facts.get("cost") if isinstance(facts, dict) else None
            if not isinstance(cost, dict):
                continue
            name = facts.get("name")
            entry = {
                "provider": provider,
                "model": model.rpartition("/")[2],  # a host lists models of others as `vendor/model`
                "name": name if isinstance(name, str) and name else model,
                **{kind: cost[kind] for kind in _Cost.model_fields if kind in cost},
            }
            try:
                yield _Entry.model_validate(entry).quote()
            except ValidationError:
                continue


def reconciled(
    lists: Sequence[Sequence[Quote]], tolerance: Decimal = DEFAULT_TOLERANCE, *, needed: int | None = None
) -> list[Quote]:
    """Return one quote a model: what two of the lists agree on, or what the only list says.

    Prices that agree are averaged. A model on which the lists disagree is left out.

    Args:
        needed: how many must agree instead, for when a list could not be had.
    """
    needed = needed or min(2, len(lists))
    by_model: dict[tuple[str, str], list[Quote]] = {}
    for quotes in lists:
        for quote in _deduplicated(quotes):
            by_model.setdefault(quote.key, []).append(quote)
    agreed = (_agreeing(quotes, tolerance) for quotes in by_model.values())
    return [_mean(quotes) for quotes in agreed if len(quotes) >= needed]


def _deduplicated(quotes: Sequence[Quote]) -> list[Quote]:
    """Keep one quote a model: that with a name without a slash, then with the smaller name."""
    chosen: dict[tuple[str, str], Quote] = {}
    for quote in sorted(quotes, key=lambda one: ("/" in one.name, one.name)):
        chosen.setdefault(quote.key, quote)
    return list(chosen.values())


def _agreeing(quotes: Sequence[Quote], tolerance: Decimal) -> list[Quote]:
    """Return the largest set of quotes that agree with one of them."""
    sets = [[other for other in quotes if agree(one.pricing, other.pricing, tolerance)] for one in quotes]
    return max(sets, key=len)


def agree(one: Pricing, other: Pricing, tolerance: Decimal) -> bool:
    """Tell whether every price differs by no more than the tolerance, relative to the higher; absent equals absent."""
    pairs = zip(one.members(), other.members(), strict=True)
    return all(_close(a, b, tolerance) for (_, a), (_, b) in pairs)


def _close(a: Decimal | None, b: Decimal | None, tolerance: Decimal) -> bool:
    if a is None or b is None:
        return a is b
    return a == b or abs(a - b) <= tolerance * max(a, b)


def _mean(quotes: Sequence[Quote]) -> Quote:
    means: dict[str, Any] = {}
    for one in fields(Pricing):
        prices = [getattr(quote.pricing, one.name) for quote in quotes]
        means[one.name] = None if prices[0] is None else sum(prices) / len(prices)
    return replace(quotes[0], pricing=Pricing(**means))
