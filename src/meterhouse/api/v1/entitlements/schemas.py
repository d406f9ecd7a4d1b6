"""Entitlements as v1 and v2 write them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from meterhouse.api.v1.entitlements.grants import EntitlementGrantCreateInputV2
from meterhouse.api.v1.entitlements.parts import (
    Amount,
    IssueAfterReset,
    JSONText,
    MeasureUsageFrom,
    Period,
    Priority,
    RecurringPeriod,
    RecurringPeriodCreateInput,
    ULIDText,
)
from meterhouse.api.wire import Instant, JSONNumber, Opt, ResourceKey, Ulid, V1Model
from meterhouse.customers.customer import Customer
from meterhouse.entitlements import entitlement as values
from meterhouse.entitlements.entitlement import EntitlementType, MeasureFrom, NewEntitlement, NewGrant
from meterhouse.kernel import clock

# Grants of one request: all of them are made in its transaction.
MAX_GRANTS = 100

_OF_METERED = frozenset(
    {"isSoftLimit", "measureUsageFrom", "issueAfterReset", "issueAfterResetPriority", "preserveOverageAtReset"}
    | {"issue", "grants"}
)


class _Create(V1Model):
    # Members of other types: to ignore them would promise what is not kept.
    foreign: ClassVar[frozenset[str]] = frozenset()

    feature_key: Opt[ResourceKey] = None
    feature_id: Opt[ULIDText] = Field(None, description="Wins over the key.")
    metadata: Opt[dict[str, str]] = None

    @model_validator(mode="before")
    @classmethod
    def _of_this_type(cls, data: Any) -> Any:
        if isinstance(data, dict):
            problem = PydanticCustomError("member_of_another_type", "is no member of this type of entitlement")
            found = [
                InitErrorDetails(type=problem, loc=(name,), input=data[name])
                for name in sorted(cls.foreign)
                if data.get(name) not in (None, False)
            ]
            if found:
                raise ValidationError.from_exception_data(cls.__name__, found)
        return data

    def _new(self, kind: EntitlementType, **members: Any) -> NewEntitlement:
        return NewEntitlement(
            kind,
            feature_id=self.feature_id and self.feature_id.upper(),
            feature_key=self.feature_key,
            metadata=self.metadata or {},
            **members,
        )


class EntitlementStaticCreateInputs(_Create):
    """A static entitlement to create: access with a configuration."""

    foreign = _OF_METERED

    type: Literal["static"]
    usage_period: Opt[RecurringPeriodCreateInput] = Field(None, description="Only shown, nothing is measured.")
    config: JSONText = Field(description="JSON, written inside a string.")

    def to_value(self) -> NewEntitlement:
        """Read the entitlement."""
        period = self.usage_period and self.usage_period.to_value()
        return self._new(EntitlementType.STATIC, usage_period=period, config=self.config)


class EntitlementBooleanCreateInputs(_Create):
    """A boolean entitlement to create: access, nothing more."""

    foreign = _OF_METERED | {"config"}

    type: Literal["boolean"]
    usage_period: Opt[RecurringPeriodCreateInput] = Field(None, description="Only shown, nothing is measured.")

    def to_value(self) -> NewEntitlement:
        """Read the entitlement."""
        period = self.usage_period and self.usage_period.to_value()
        return self._new(EntitlementType.BOOLEAN, usage_period=period)


class _MeteredCreate(_Create):
    foreign = frozenset({"config"})

    type: Literal["metered"]
    is_soft_limit: bool = Field(False, description="Whether access goes on when nothing is left.")
    usage_period: RecurringPeriodCreateInput = Field(description="How often usage begins anew.")
    measure_usage_from: Opt[MeasureUsageFrom] = Field(None, description="Since when usage counts; now when absent.")
    preserve_overage_at_reset: bool = Field(False, description="Whether overage is carried into the next period.")
    issue_after_reset: Opt[Amount] = Field(
        None, description="Granted at the beginning of every usage period.", json_schema_extra={"deprecated": True}
    )
    issue_after_reset_priority: Opt[Priority] = Field(None, json_schema_extra={"deprecated": True})

    def _metered(self, issue: IssueAfterReset | None = None, grants: Sequence[NewGrant] = ()) -> NewEntitlement:
        begins = self.measure_usage_from
        amount, priority = self.issue_after_reset, self.issue_after_reset_priority
        if issue is not None:
            amount, priority = issue.amount, issue.priority if "priority" in issue.model_fields_set else None
        return self._new(
            EntitlementType.METERED,
            usage_period=self.usage_period.to_value(),
            measure_usage_from=MeasureFrom(begins) if isinstance(begins, str) else begins,
            is_soft_limit=self.is_soft_limit,
            preserve_overage=self.preserve_overage_at_reset,
            issue_after_reset=amount,
            issue_priority=priority,
            grants=grants,
        )


class EntitlementMeteredCreateInputs(_MeteredCreate):
    """A metered entitlement to create: access limited by usage."""

    is_unlimited: bool = Field(
        False, description="Accepted for compatibility; means nothing.", json_schema_extra={"deprecated": True}
    )

    def to_value(self) -> NewEntitlement:
        """Read the entitlement."""
        return self._metered()


class EntitlementMeteredV2CreateInputs(_MeteredCreate):
    """A metered entitlement to create: access limited by usage."""

    issue: Opt[IssueAfterReset] = Field(None, description="Wins over the plain amount.")
    grants: Opt[list[EntitlementGrantCreateInputV2]] = Field(None, max_length=MAX_GRANTS)

    def to_value(self) -> NewEntitlement:
        """Read the entitlement."""
        return self._metered(self.issue, [grant.to_value() for grant in self.grants or []])


EntitlementCreateInputs = Annotated[
    EntitlementMeteredCreateInputs | EntitlementStaticCreateInputs | EntitlementBooleanCreateInputs,
    Field(discriminator="type"),
]
EntitlementV2CreateInputs = Annotated[
    EntitlementMeteredV2CreateInputs | EntitlementStaticCreateInputs | EntitlementBooleanCreateInputs,
    Field(discriminator="type"),
]


class _Output(V1Model):
    id: Ulid
    feature_key: ResourceKey
    feature_id: Ulid
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    active_from: Instant
    active_to: Opt[Instant] = None
    metadata: Opt[dict[str, str]] = None
    annotations: Opt[dict[str, Any]] = None


class _Unmetered(_Output):
    current_usage_period: Opt[Period] = None
    usage_period: Opt[RecurringPeriod] = None


class _Metered(_Output):
    type: Literal["metered"]
    is_soft_limit: bool
    preserve_overage_at_reset: bool
    issue_after_reset: Opt[JSONNumber] = Field(None, json_schema_extra={"deprecated": True})
    issue_after_reset_priority: Opt[int] = Field(None, json_schema_extra={"deprecated": True})
    last_reset: Instant = Field(description="The last reset by hand, or since when usage is measured.")
    current_usage_period: Period
    measure_usage_from: Instant
    usage_period: RecurringPeriod = Field(description="As it was set up, whatever resets did to the anchor.")


class _OfSubject(V1Model):
    subject_key: str = Field(description="The first subject key of the customer; empty when it has none.")


class _OfCustomer(V1Model):
    customer_id: Ulid
    customer_key: Opt[str] = None


class EntitlementMetered(_OfSubject, _Metered):
    """Access limited by usage."""

    is_unlimited: bool = Field(False, json_schema_extra={"deprecated": True})


class EntitlementStatic(_OfSubject, _Unmetered):
    """Access with a configuration."""

    type: Literal["static"]
    config: JSONText


class EntitlementBoolean(_OfSubject, _Unmetered):
    """Access, nothing more."""

    type: Literal["boolean"]


class EntitlementMeteredV2(_OfCustomer, _Metered):
    """Access limited by usage."""

    issue: Opt[IssueAfterReset] = None


class EntitlementStaticV2(_OfCustomer, _Unmetered):
    """Access with a configuration."""

    type: Literal["static"]
    config: JSONText


class EntitlementBooleanV2(_OfCustomer, _Unmetered):
    """Access, nothing more."""

    type: Literal["boolean"]


Entitlement = Annotated[EntitlementMetered | EntitlementStatic | EntitlementBoolean, Field(discriminator="type")]
EntitlementV2 = Annotated[
    EntitlementMeteredV2 | EntitlementStaticV2 | EntitlementBooleanV2, Field(discriminator="type")
]
_V1: Mapping[EntitlementType, type[EntitlementMetered | EntitlementStatic | EntitlementBoolean]] = {
    EntitlementType.METERED: EntitlementMetered,
    EntitlementType.STATIC: EntitlementStatic,
    EntitlementType.BOOLEAN: EntitlementBoolean,
}
_V2: Mapping[EntitlementType, type[EntitlementMeteredV2 | EntitlementStaticV2 | EntitlementBooleanV2]] = {
    EntitlementType.METERED: EntitlementMeteredV2,
    EntitlementType.STATIC: EntitlementStaticV2,
    EntitlementType.BOOLEAN: EntitlementBooleanV2,
}


def shown_v1(entitlement: values.Entitlement, customer: Customer) -> Entitlement:
    """Show an entitlement by a subject of its customer."""
    subject_key = min(customer.subject_keys, default="")
    return _V1[entitlement.type].model_validate({**_members(entitlement, clock.now()), "subject_key": subject_key})


def shown_v2(entitlement: values.Entitlement, customer: Customer) -> EntitlementV2:
    """Show an entitlement by its customer."""
    members = {**_members(entitlement, clock.now()), "customer_id": customer.id, "customer_key": customer.key}
    metered = entitlement.metered
    if metered is not None and metered.issue_after_reset:
        priority = 1 if metered.issue_priority is None else metered.issue_priority
        members["issue"] = {"amount": metered.issue_after_reset, "priority": priority}
    return _V2[entitlement.type].model_validate(members)


def _members(entitlement: values.Entitlement, now: datetime) -> dict[str, Any]:
    period = entitlement.current_usage_period(now)
    members: dict[str, Any] = {
        "id": entitlement.id,
        "type": str(entitlement.type),
        "feature_key": entitlement.feature_key,
        "feature_id": entitlement.feature_id,
        "created_at": entitlement.created_at,
        "updated_at": entitlement.updated_at,
        "deleted_at": entitlement.deleted_at,
        "active_from": entitlement.active_from,
        "active_to": entitlement.active_to,
        "metadata": dict(entitlement.metadata) or None,
        "annotations": dict(entitlement.annotations) or None,
        "config": entitlement.config,
        "usage_period": entitlement.usage_period and RecurringPeriod.of(entitlement.usage_period),
        "current_usage_period": period and Period(from_=period.start, to=period.end),
    }
    metered = entitlement.metered
    if metered is None:
        return members
    return members | {
        "is_soft_limit": metered.is_soft_limit,
        "preserve_overage_at_reset": metered.preserve_overage,
        "issue_after_reset": metered.issue_after_reset,
        "issue_after_reset_priority": metered.issue_priority,
        "last_reset": metered.periods.last_manual_reset,
        "measure_usage_from": metered.periods.start,
    }
