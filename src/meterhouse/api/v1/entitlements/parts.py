"""What entitlements and grants of v1 and v2 are made of."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, PlainValidator, StringConstraints, WithJsonSchema

from meterhouse.api.wire import Instant, ISODuration, JSONNumber, Opt, V1Model, read_duration
from meterhouse.entitlements.access import Value
from meterhouse.entitlements.burndown import Segment
from meterhouse.entitlements.entitlement import NewRecurrence
from meterhouse.entitlements.expiration import Expiration, ExpirationUnit
from meterhouse.entitlements.history import History, WindowBalance
from meterhouse.kernel.money import total
from meterhouse.kernel.periods import Duration, Recurrence

NAMED_INTERVALS = {
    "DAY": Duration(days=1),
    "WEEK": Duration(weeks=1),
    "MONTH": Duration(months=1),
    "YEAR": Duration(years=1),
}
_INTERVAL_SCHEMA = {
    "anyOf": [{"type": "string", "format": "duration"}, {"type": "string", "enum": list(NAMED_INTERVALS)}]
}


def _interval(value: object) -> Duration:
    named = NAMED_INTERVALS.get(value.upper()) if isinstance(value, str) else None
    return read_duration(value) if named is None else named


def _named(interval: Duration) -> str:
    return next((name for name, one in NAMED_INTERVALS.items() if one == interval), str(interval))


# An interval: DAY, WEEK, MONTH, YEAR in any case, or an ISO 8601 duration; shown by its name where it has one.
Interval = Annotated[
    Duration,
    PlainValidator(_interval),
    PlainSerializer(_named, return_type=str, when_used="json"),
    WithJsonSchema(_INTERVAL_SCHEMA),
]
Amount = Annotated[JSONNumber, Field(ge=0)]
Priority = Annotated[int, Field(ge=1, le=255)]
JSONText = Annotated[str, WithJsonSchema({"type": "string", "format": "json"})]
ULIDText = Annotated[str, StringConstraints(pattern=r"^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$")]


class Period(V1Model):
    """A stretch of time; the end is not part of it."""

    from_: Instant = Field(alias="from")
    to: Instant


class RecurringPeriodCreateInput(V1Model):
    """How often something recurs."""

    interval: Interval
    anchor: Opt[Instant] = Field(None, description="An instant that one period begins at; cut to the minute.")

    def to_value(self) -> NewRecurrence:
        """Read the recurrence."""
        return NewRecurrence(self.interval, self.anchor)


class RecurringPeriod(V1Model):
    """How often something recurs, and from where that is counted."""

    interval: Interval
    anchor: Instant
    interval_iso: ISODuration = Field(alias="intervalISO")

    @classmethod
    def of(cls, recurrence: Recurrence) -> "RecurringPeriod":
        """Show a recurrence."""
        return cls(interval=recurrence.interval, anchor=recurrence.anchor, interval_iso=recurrence.interval)


class ExpirationPeriod(V1Model):
    """How long a grant lives."""

    duration: ExpirationUnit
    count: Annotated[int, Field(ge=1, le=1000)]

    def to_value(self) -> Expiration:
        """Read the expiration."""
        return Expiration(self.count, self.duration)


class IssueAfterReset(V1Model):
    """What is granted at the beginning of every usage period."""

    amount: Amount
    priority: Priority = 1


class EntitlementValue(V1Model):
    """What an entitlement is worth at an instant."""

    has_access: bool = Field(description="Whether the feature may be used.")
    balance: Opt[JSONNumber] = Field(None, description="What is left of the grants.")
    usage: Opt[JSONNumber] = Field(None, description="Used since the usage period began.")
    overage: Opt[JSONNumber] = Field(None, description="Used without a grant to cover it.")
    total_available_grant_amount: Opt[JSONNumber] = Field(
        None, description="What grants have covered in the usage period, and what they have left."
    )
    config: Opt[str] = Field(None, description="Of a static entitlement: JSON text.")

    @classmethod
    def of(cls, value: Value) -> Self:
        """Show a value."""
        return cls(**cls._members(value))

    @classmethod
    def _members(cls, value: Value) -> dict[str, Any]:
        if value.balance is None:
            return {"has_access": value.has_access, "config": value.config}
        return {
            "has_access": value.has_access,
            "balance": value.balance.balance,
            "usage": value.balance.usage,
            "overage": value.balance.overage,
            "total_available_grant_amount": value.balance.total_available,
        }


class EntitlementValueV2(EntitlementValue):
    """What an entitlement is worth at an instant, grant by grant."""

    grant_balances: Opt[dict[str, JSONNumber]] = Field(None, description="What is left of each grant that is active.")

    @classmethod
    def _members(cls, value: Value) -> dict[str, Any]:
        members = super()._members(value)
        return members if value.balance is None else {**members, "grant_balances": dict(value.balance.grants)}


class CustomerAccess(V1Model):
    """What a customer may use now."""

    entitlements: dict[str, EntitlementValueV2] = Field(description="By the key of the feature.")


def _zoned(instant: datetime) -> str:
    return instant.isoformat() if instant.utcoffset() else instant.isoformat().removesuffix("+00:00") + "Z"


ZonedInstant = Annotated[
    datetime,
    PlainSerializer(_zoned, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class ZonedPeriod(V1Model):
    """A window of time, in the zone that was asked for."""

    from_: ZonedInstant = Field(alias="from")
    to: ZonedInstant


class BalanceHistoryWindow(V1Model):
    """One window of time."""

    period: ZonedPeriod
    usage: JSONNumber
    balance_at_start: JSONNumber

    @classmethod
    def of(cls, window: WindowBalance) -> "BalanceHistoryWindow":
        """Show a window."""
        period = ZonedPeriod(from_=window.start, to=window.end)
        return cls(period=period, usage=window.usage, balance_at_start=window.balance_at_start)


class GrantUsageRecord(V1Model):
    """What a segment took from one grant."""

    grant_id: str
    usage: JSONNumber


class GrantBurnDownHistorySegment(V1Model):
    """A stretch of time in which the same grants were active. A reset is one that lasts no time."""

    period: Period
    usage: JSONNumber
    overage: JSONNumber = Field(description="At its end.")
    balance_at_start: JSONNumber
    grant_balances_at_start: dict[str, JSONNumber]
    balance_at_end: JSONNumber
    grant_balances_at_end: dict[str, JSONNumber]
    grant_usages: list[GrantUsageRecord] = Field(description="In the order of burning.")

    @classmethod
    def of(cls, segment: Segment) -> "GrantBurnDownHistorySegment":
        """Show a segment."""
        before, after = segment.start_balances, segment.leaving.balances
        return cls(
            period=Period(from_=segment.start, to=segment.end),
            usage=segment.usage,
            overage=segment.leaving.overage,
            balance_at_start=total(before.values()),
            grant_balances_at_start=dict(before),
            balance_at_end=total(after.values()),
            grant_balances_at_end=dict(after),
            grant_usages=[GrantUsageRecord(grant_id=grant_id, usage=amount) for grant_id, amount in segment.burnt],
        )


class WindowedBalanceHistory(V1Model):
    """How an entitlement was burnt down."""

    windowed_history: list[BalanceHistoryWindow]
    burndown_history: list[GrantBurnDownHistorySegment]

    @classmethod
    def of(cls, history: History) -> "WindowedBalanceHistory":
        """Show a history."""
        return cls(
            windowed_history=[BalanceHistoryWindow.of(window) for window in history.windows],
            burndown_history=[GrantBurnDownHistorySegment.of(segment) for segment in history.segments],
        )


class ResetEntitlementUsageInput(V1Model):
    """When and how to begin a new usage period."""

    effective_at: Opt[Instant] = Field(None, description="An instant of the current usage period; now when absent.")
    retain_anchor: bool = Field(False, description="Go on counting periods from where they were counted.")
    preserve_overage: Opt[bool] = Field(None, description="Carry overage over; as the entitlement says when absent.")

    def members(self) -> dict[str, Any]:
        """Read the reset."""
        return {
            "at": self.effective_at,
            "retain_anchor": self.retain_anchor,
            "preserve_overage": self.preserve_overage,
        }


MeasureUsageFrom = Annotated[Literal["CURRENT_PERIOD_START", "NOW"] | Instant, Field(union_mode="left_to_right")]
