"""What should be billed: the input for making a charge, and the digest by which changes are found."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import orjson

from meterhouse.billing.ports import SubscriptionReference
from meterhouse.catalog.prices import Discounts, FlatPrice, Price, SettlementMode, TaxConfig, UnitConversion
from meterhouse.kernel.periods import Period


@dataclass(frozen=True, slots=True)
class ChargeIntent:
    """One billable thing. All instants are UTC and whole seconds.

    Attributes:
        unique_reference_id: stable identity among the customer's charges that are not deleted, e.g.
            `{subscription}/{phase}/{item}/v[0]/period[0]`; None for charges made by hand.
        service_period: what is really billed; may be empty for flat prices only.
        full_service_period: what a full period would be; a flat amount is prorated by their lengths.
        billing_period: the cycle in which it is collected.
        prorate: whether a flat amount follows the length of the service period (already False where the billing profile
            says `bill_full_period` and the subscription ends within the period).
    """

    namespace: str
    customer_id: str
    currency: str
    managed_by: Literal["subscription", "manual", "system"]
    settlement_mode: SettlementMode
    name: str
    price: Price
    service_period: Period
    full_service_period: Period
    billing_period: Period
    invoice_at: datetime
    feature_key: str | None = None
    discounts: Discounts = field(default_factory=Discounts)
    unit_conversion: UnitConversion | None = None
    tax_config: TaxConfig | None = None
    prorate: bool = False
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    unique_reference_id: str | None = None
    subscription: SubscriptionReference | None = None

    @property
    def is_flat(self) -> bool:
        """Tell whether the charge is a flat fee; every other price is usage based."""
        return isinstance(self.price, FlatPrice)

    def content_digest(self) -> str:
        """Return a digest of what may change without changing the identity or the periods.

        Equal digests mean that a sync has nothing to carry over: name, description, metadata, price, discounts
        (correlation ids aside), conversion, tax and proration are the same.
        """
        content = {
            "name": self.name,
            "description": self.description,
            "metadata": dict(sorted(self.metadata.items())),
            "price": self.price.model_dump(mode="json"),
            "discounts": self.discounts.model_dump(
                mode="json", exclude={"percentage": {"correlation_id"}, "usage": {"correlation_id"}}
            ),
            "unit_conversion": self.unit_conversion.model_dump(mode="json") if self.unit_conversion else None,
            "tax_config": self.tax_config.model_dump(mode="json") if self.tax_config else None,
            "prorate": self.prorate,
        }
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
