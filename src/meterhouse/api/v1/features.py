"""v1 features (catalog section 2)."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field, StringConstraints, model_validator

from meterhouse.api import fields
from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.paging import MAX_OFFSET, MAX_PAGE_SIZE, V1Page
from meterhouse.api.problems import errors
from meterhouse.api.unitcosts import PRICING, LLMMembers, ManualMembers, PricingMembers, UnitCostRoot
from meterhouse.api.wire import Instant, Opt, ResourceKey, Ulid, V1Model
from meterhouse.catalog import featurecost, features
from meterhouse.catalog.features import FeatureQuery, NewFeature
from meterhouse.catalog.llmcost import LLMPrice
from meterhouse.kernel.conditions import Check, Condition, Operator, Sort
from meterhouse.kernel.pages import Page, PageRequest
from meterhouse.metering import filters
from meterhouse.metering.filters import Filter

router = APIRouter(tags=["Product Catalog"])

_DEFAULT_SIZE = 100
_SORT_FIELDS = {"id": "id", "key": "key", "name": "name", "createdAt": "created_at", "updatedAt": "updated_at"}

FeatureName = Annotated[str, StringConstraints(min_length=1)]
FeatureIdOrKey = Annotated[str, Path(alias="featureId", description="The id or the key of a feature.")]


class FilterString(V1Model):
    """One condition on a text. Exactly one operator is set; `$and` and `$or` combine conditions."""

    # A condition that is passed over would let everything count.
    model_config = ConfigDict(extra="forbid")

    eq: Opt[str] = Field(None, alias="$eq")
    ne: Opt[str] = Field(None, alias="$ne")
    in_: Opt[list[str]] = Field(None, alias="$in")
    nin: Opt[list[str]] = Field(None, alias="$nin")
    like: Opt[str] = Field(None, alias="$like")
    nlike: Opt[str] = Field(None, alias="$nlike")
    ilike: Opt[str] = Field(None, alias="$ilike")
    nilike: Opt[str] = Field(None, alias="$nilike")
    gt: Opt[str] = Field(None, alias="$gt")
    gte: Opt[str] = Field(None, alias="$gte")
    lt: Opt[str] = Field(None, alias="$lt")
    lte: Opt[str] = Field(None, alias="$lte")
    and_: "Opt[list[FilterString]]" = Field(None, alias="$and")
    or_: "Opt[list[FilterString]]" = Field(None, alias="$or")

    @model_validator(mode="after")
    def _one_operator(self) -> "FilterString":
        filters.from_json(self.model_dump(by_alias=True), prefix="$")
        return self

    @classmethod
    def of(cls, condition: Filter) -> "FilterString":
        """Show a condition; an operator that v1 does not know is left out."""
        known = {field.alias for field in cls.model_fields.values()}
        shown = {name: operand for name, operand in _prefixed(condition.to_json()).items() if name in known}
        return cls.model_validate(shown)

    def to_value(self) -> Filter | None:
        """Read the condition; None filters nothing."""
        return filters.from_json(self.model_dump(by_alias=True), prefix="$")


def _prefixed(document: Any) -> Any:
    if isinstance(document, dict):
        return {f"${name}": _prefixed(operand) for name, operand in document.items()}
    return [_prefixed(item) for item in document] if isinstance(document, list) else document


class FeatureManualUnitCost(ManualMembers, V1Model):
    """A fixed cost of one unit, in USD."""


class FeatureLLMUnitCostPricing(PricingMembers, V1Model):
    """What one token costs in USD, by its kind."""


class FeatureLLMUnitCost(LLMMembers, V1Model):
    """A cost from the price list of language models. Each fact is fixed or read from a dimension of the meter."""

    pricing: Opt[FeatureLLMUnitCostPricing] = Field(None, description=PRICING, json_schema_extra={"readOnly": True})


class FeatureUnitCost(UnitCostRoot):
    """What one unit costs the seller."""

    Pricing = FeatureLLMUnitCostPricing
    root: Annotated[FeatureManualUnitCost | FeatureLLMUnitCost, Field(discriminator="type")]


class _FeatureInput(V1Model):
    key: ResourceKey
    name: FeatureName
    metadata: Opt[dict[str, str]] = None
    meter_slug: Opt[ResourceKey] = Field(None, description="Key of the meter that measures its usage.")
    meter_group_by_filters: Opt[dict[str, str]] = Field(
        None, description="Values that dimensions of the meter must have.", json_schema_extra={"deprecated": True}
    )
    advanced_meter_group_by_filters: Opt[dict[str, FilterString]] = Field(
        None, description="Conditions on dimensions of the meter; win over the plain values."
    )
    unit_cost: Opt[FeatureUnitCost] = None


class FeatureCreateInputs(_FeatureInput):
    """A feature to create."""

    def to_value(self) -> NewFeature:
        """Read the feature."""
        return NewFeature(
            key=self.key,
            name=self.name,
            metadata=self.metadata or {},
            meter_key=self.meter_slug,
            meter_filters=self._filters(),
            unit_cost=self.unit_cost.to_value() if self.unit_cost else None,
        )

    def field_names(self) -> dict[str, str]:
        """Return what this request calls the fields of a feature."""
        advanced = self.advanced_meter_group_by_filters
        parts = FeatureLLMUnitCost.model_fields.items()
        return {
            "$.meter.filters": "$.advancedMeterGroupByFilters" if advanced else "$.meterGroupByFilters",
            "$.meter": "$.meterSlug",
            **{f"$.unit_cost.{name}": f"$.unitCost.{field.alias}" for name, field in parts},
            "$.unit_cost": "$.unitCost",
        }

    def _filters(self) -> dict[str, Filter]:
        if not self.advanced_meter_group_by_filters:
            return {name: filters.eq(value) for name, value in (self.meter_group_by_filters or {}).items()}
        read = {name: given.to_value() for name, given in self.advanced_meter_group_by_filters.items()}
        return {name: condition for name, condition in read.items() if condition is not None}


class FeatureResource(_FeatureInput):
    """A feature."""

    id: Ulid
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = Field(None, description="Never set: a feature is archived, not deleted.")
    archived_at: Opt[Instant] = None

    @classmethod
    def of(cls, feature: features.Feature, price: LLMPrice | None = None) -> "FeatureResource":
        """Show a feature and the price of its model. Plain values are shown when every condition is an equality."""
        conditions = feature.meter_filters
        plain = all(condition.operator is filters.Operator.EQ for condition in conditions.values())
        return cls(
            id=feature.id,
            key=feature.key,
            name=feature.name,
            metadata=dict(feature.metadata) or None,
            meter_slug=feature.meter_key,
            meter_group_by_filters={name: condition.value for name, condition in conditions.items()}
            if plain and conditions
            else None,
            advanced_meter_group_by_filters={name: FilterString.of(condition) for name, condition in conditions.items()}
            or None,
            unit_cost=FeatureUnitCost.of(feature.unit_cost, price) if feature.unit_cost else None,
            created_at=feature.created_at,
            updated_at=feature.updated_at,
            archived_at=feature.archived_at,
        )


@router.post(
    "/api/v1/features",
    operation_id="createFeature",
    summary="Create a feature",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def create_feature(body: FeatureCreateInputs, session: Write, namespace: Namespace) -> FeatureResource:
    """Create a feature, with a meter to measure its usage or without one."""
    with fields.named(body.field_names()):
        return FeatureResource.of(await features.create(session, namespace, body.to_value()))


@router.get(
    "/api/v1/features",
    operation_id="listFeatures",
    summary="List features",
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_features(
    session: Read,
    namespace: Namespace,
    meter_slug: Annotated[list[str] | None, Query(alias="meterSlug", description="Keys of meters.")] = None,
    include_archived: Annotated[bool, Query(alias="includeArchived", description="Show archived ones too.")] = False,
    page: Annotated[int | None, Query(ge=1, description="Page to return, counted from 1.")] = None,
    page_size: Annotated[
        int | None, Query(alias="pageSize", ge=1, le=MAX_PAGE_SIZE, description="How many items a page holds.")
    ] = None,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="How many to pass over; not used with pages.")] = 0,
    limit: Annotated[
        int, Query(ge=1, le=MAX_PAGE_SIZE, description="How many to return; not used with pages.")
    ] = _DEFAULT_SIZE,
    order: Literal["ASC", "DESC"] = "ASC",
    order_by: Annotated[Literal["id", "key", "name", "createdAt", "updatedAt"], Query(alias="orderBy")] = "key",
) -> list[FeatureResource] | V1Page[FeatureResource]:
    """List features: a page when `page` or `pageSize` is given, else an array."""
    paged = page is not None or page_size is not None
    request = PageRequest(page or 1, page_size or _DEFAULT_SIZE)
    found, total = await features.list_features(
        session,
        namespace,
        FeatureQuery(
            conditions={"meter_key": Condition((Check(Operator.OEQ, tuple(meter_slug)),))} if meter_slug else {},
            include_archived=include_archived,
            sorts=[Sort(_SORT_FIELDS[order_by], order == "DESC")],
            offset=request.offset if paged else offset,
            limit=request.size if paged else limit,
        ),
    )
    items = [FeatureResource.of(feature) for feature in found]
    return V1Page.of(Page(found, total, request), items) if paged else items


@router.get(
    "/api/v1/features/{featureId}",
    operation_id="getFeature",
    summary="Get a feature",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_feature(feature_id: FeatureIdOrKey, session: Read, namespace: Namespace) -> FeatureResource:
    """Get a feature that is not archived."""
    feature = await features.get(session, namespace, feature_id)
    return FeatureResource.of(feature, await featurecost.pricing(session, namespace, feature))


@router.delete(
    "/api/v1/features/{featureId}",
    operation_id="deleteFeature",
    summary="Archive a feature",
    status_code=204,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def delete_feature(
    feature_id: FeatureIdOrKey, session: Write, namespace: Namespace, services: ServicesDep
) -> Response:
    """Archive a feature. Its key can be used again at once; billing keeps knowing the old one."""
    await features.archive(session, namespace, feature_id, uses=services.feature_uses)
    return Response(status_code=204)
