"""v3 features (catalog section 2)."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field, field_validator, model_validator

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.filters import FieldKind, list_parameters, parse_filters, parse_sort
from meterhouse.api.labels import Labels, ShownLabels, labels_of, metadata_of
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import errors
from meterhouse.api.unitcosts import PRICING, LLMMembers, ManualMembers, PricingMembers, UnitCostRoot
from meterhouse.api.wire import Description, Instant, Name, Opt, ResourceKey, Ulid, V3Model
from meterhouse.catalog import featurecost, features
from meterhouse.catalog.features import FeatureInUse, FeatureQuery, NewFeature
from meterhouse.catalog.llmcost import LLMPrice
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import Forbidden
from meterhouse.kernel.pages import Page
from meterhouse.metering.filters import Filter, Operator, from_json

router = APIRouter(tags=["OpenMeter Features"])

_PATH = "/api/v3/openmeter/features"
_MAX_FILTERS = 10  # dimensions that one feature filters by; each is a condition of every usage query
_MAX_VALUES = 100  # operands of one list
_MAX_PARTS = 10  # members of one `and` or `or`
_MAX_LEVELS = 2
_FIELDS = {"key": FieldKind.STRING, "name": FieldKind.STRING, "meter_id": FieldKind.ULID}
_SORT_FIELDS = ("key", "name", "created_at", "updated_at")

FeatureId = Annotated[Ulid, Path(alias="featureId", description="The id of a feature.")]
_Values = Annotated[list[str], Field(min_length=1, max_length=_MAX_VALUES)]
_Parts = Annotated[list["QueryFilterString"], Field(min_length=1, max_length=_MAX_PARTS)]


class QueryFilterString(V3Model):
    """One condition on a text. Exactly one operator is set."""

    eq: Opt[str] = None
    neq: Opt[str] = None
    in_: Opt[_Values] = Field(None, alias="in")
    nin: Opt[_Values] = None
    contains: Opt[str] = None
    ncontains: Opt[str] = None
    and_: Opt[_Parts] = Field(None, alias="and")
    or_: Opt[_Parts] = Field(None, alias="or")

    @model_validator(mode="after")
    def _known_form(self) -> "QueryFilterString":
        condition = self.to_value()
        if condition is not None and condition.depth() > _MAX_LEVELS:
            raise ValueError(f"conditions may be nested {_MAX_LEVELS} levels at most")
        return self

    def to_value(self) -> Filter | None:
        """Read the condition; None filters nothing."""
        read = from_json(self.model_dump(by_alias=True), aliases={"neq": Operator.NE})
        return read and _as_patterns(read)


class QueryFilterStringMapItem(QueryFilterString):
    """One condition on a dimension, which may also ask whether it is there."""

    exists: Opt[bool] = None

    @classmethod
    def of(cls, condition: Filter) -> "QueryFilterStringMapItem":
        """Show a condition. What v3 cannot express is left out, though it still holds."""
        return cls.model_construct(**_members(condition))


_PATTERNS = {Operator.CONTAINS: Operator.LIKE, Operator.NCONTAINS: Operator.NLIKE}
_WIRE_NAMES = {Operator.LIKE: "contains", Operator.NLIKE: "ncontains", Operator.NE: "neq"}
_V3_OPERATORS = {Operator.EQ, Operator.NE, Operator.IN, Operator.NIN, Operator.EXISTS, Operator.AND, Operator.OR}
_CONTAINS_PATTERN = re.compile(r"%((?:[^\\%_]|\\[\\%_])*)%", re.DOTALL)


def _as_patterns(condition: Filter) -> Filter:
    """Return the condition as it is stored: `contains` as a pattern that both API versions can read."""
    if condition.operator in _PATTERNS:
        if not condition.value:
            raise ValueError("an operand must not be empty")
        escaped = re.sub(r"([\\%_])", r"\\\1", condition.value)
        return Filter(_PATTERNS[condition.operator], (f"%{escaped}%",))
    if condition.filters:
        return Filter(condition.operator, filters=tuple(_as_patterns(part) for part in condition.filters))
    return condition


def _members(condition: Filter) -> dict[str, Any]:
    name = _WIRE_NAMES.get(condition.operator, condition.operator.value)
    if condition.filters:
        # Past the checks of the schema: what v1 has stored may be longer than what v3 takes.
        return {name: [QueryFilterString.model_construct(**_members(part)) for part in condition.filters]}
    if condition.operator in _PATTERNS.values():
        found = _CONTAINS_PATTERN.fullmatch(condition.value)
        return {name: re.sub(r"\\([\\%_])", r"\1", found[1])} if found else {}
    if condition.operator not in _V3_OPERATORS:
        return {}
    return {name: next(iter(condition.to_json().values()))}


class FeatureMeterReference(V3Model):
    """The meter of a feature, and which part of its usage counts."""

    id: Ulid
    filters: Opt[Annotated[dict[str, QueryFilterStringMapItem], Field(max_length=_MAX_FILTERS)]] = Field(
        None, description="Conditions by dimension of the meter; all must hold."
    )


class FeatureManualUnitCost(ManualMembers, V3Model):
    """A fixed cost of one unit, in USD."""


class FeatureLLMUnitCostPricing(PricingMembers, V3Model):
    """What one token costs in USD, by its kind."""


class FeatureLLMUnitCost(LLMMembers, V3Model):
    """A cost from the price list of language models. Each fact is fixed or read from a dimension of the meter."""

    pricing: Opt[FeatureLLMUnitCostPricing] = Field(None, description=PRICING, json_schema_extra={"readOnly": True})

    @field_validator("pricing")
    @classmethod
    def _read_only(cls, pricing: FeatureLLMUnitCostPricing | None) -> None:
        if pricing is not None:
            raise ValueError("is read-only")


class FeatureUnitCost(UnitCostRoot):
    """What one unit costs the seller."""

    Pricing = FeatureLLMUnitCostPricing
    root: Annotated[FeatureManualUnitCost | FeatureLLMUnitCost, Field(discriminator="type")]


class CreateFeatureRequest(V3Model):
    """A feature to create."""

    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    key: ResourceKey
    meter: Opt[FeatureMeterReference] = None
    unit_cost: Opt[FeatureUnitCost] = None

    def to_value(self) -> NewFeature:
        """Read the feature."""
        given = self.meter.filters or {} if self.meter else {}
        conditions = {name: item.to_value() for name, item in given.items()}
        return NewFeature(
            key=self.key,
            name=self.name,
            description=self.description,
            metadata=metadata_of(self.labels),
            meter_id=self.meter.id if self.meter else None,
            meter_filters={name: condition for name, condition in conditions.items() if condition is not None},
            unit_cost=self.unit_cost.to_value() if self.unit_cost else None,
        )


class UpdateFeatureRequest(V3Model):
    """The change of a feature: null clears the unit cost, leaving it out changes nothing."""

    unit_cost: FeatureUnitCost | None = None


class Feature(V3Model):
    """A feature."""

    id: Ulid
    name: Name
    description: Opt[Description] = None
    labels: ShownLabels
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = Field(None, description="When it was archived.")
    key: ResourceKey
    meter: Opt[FeatureMeterReference] = None
    unit_cost: Opt[FeatureUnitCost] = None

    @classmethod
    def of(cls, feature: features.Feature, price: LLMPrice | None = None) -> "Feature":
        """Show a feature, with the price of its model."""
        shown = {name: QueryFilterStringMapItem.of(given) for name, given in feature.meter_filters.items()}
        # Built past the checks: what is stored, by v1 too, may be longer than what v3 takes.
        return cls.model_construct(
            id=feature.id,
            name=feature.name,
            description=feature.description,
            labels=labels_of(feature.metadata),
            created_at=feature.created_at,
            updated_at=feature.updated_at,
            deleted_at=feature.archived_at,
            key=feature.key,
            meter=FeatureMeterReference.model_construct(id=feature.meter_id, filters=shown or None)
            if feature.meter_id
            else None,
            unit_cost=FeatureUnitCost.of(feature.unit_cost, price) if feature.unit_cost else None,
        )


async def _priced(session: ReadSession, namespace: str, feature: features.Feature) -> Feature:
    return Feature.of(feature, await featurecost.pricing(session, namespace, feature))


@router.post(
    _PATH,
    operation_id="createFeature",
    summary="Create a feature",
    status_code=201,
    responses=errors("v3", 400, 401, 403, 404, 409),
)
async def create_feature(body: CreateFeatureRequest, session: Write, namespace: Namespace) -> Feature:
    """Create a feature, with a meter to measure its usage or without one."""
    return Feature.of(await features.create(session, namespace, body.to_value()))


@router.get(
    _PATH,
    operation_id="listFeatures",
    summary="List features",
    responses=errors("v3", 400, 401, 403),
    openapi_extra=list_parameters(_FIELDS, _SORT_FIELDS),
)
async def list_features(request: Request, session: Read, namespace: Namespace, page: V3Paging) -> V3Page[Feature]:
    """List the features that are not archived, the oldest first unless asked otherwise."""
    query = FeatureQuery(
        conditions=parse_filters(request, _FIELDS),
        sorts=parse_sort(request, _SORT_FIELDS, [Sort("created_at")]),
        offset=page.offset,
        limit=page.size,
    )
    found, total = await features.list_features(session, namespace, query)
    return V3Page.of(Page(found, total, page), [Feature.of(feature) for feature in found])


@router.get(
    _PATH + "/{featureId}",
    operation_id="getFeature",
    summary="Get a feature",
    responses=errors("v3", 400, 401, 403, 404),
)
async def get_feature(feature_id: FeatureId, session: Read, namespace: Namespace) -> Feature:
    """Get a feature that is not archived."""
    return await _priced(session, namespace, await features.get(session, namespace, feature_id))


@router.patch(
    _PATH + "/{featureId}",
    operation_id="updateFeature",
    summary="Change a feature",
    responses=errors("v3", 400, 401, 403, 404),
)
async def update_feature(
    feature_id: FeatureId, body: UpdateFeatureRequest, session: Write, namespace: Namespace
) -> Feature:
    """Replace or clear the unit cost; nothing else about a feature can change."""
    if "unit_cost" not in body.model_fields_set:
        return await _priced(session, namespace, await features.get(session, namespace, feature_id))
    unit_cost = body.unit_cost.to_value() if body.unit_cost else None
    changed = await features.set_unit_cost(session, namespace, feature_id, unit_cost)
    return await _priced(session, namespace, changed)


@router.delete(
    _PATH + "/{featureId}",
    operation_id="deleteFeature",
    summary="Archive a feature",
    status_code=204,
    responses=errors("v3", 400, 401, 403, 404),
)
async def delete_feature(
    feature_id: FeatureId, session: Write, namespace: Namespace, services: ServicesDep
) -> Response:
    """Archive a feature. Its key can be used again at once; billing keeps knowing the old one."""
    try:
        await features.archive(session, namespace, feature_id, uses=services.feature_uses)
    except FeatureInUse as error:
        raise Forbidden(error.message) from error
    return Response(status_code=204)
