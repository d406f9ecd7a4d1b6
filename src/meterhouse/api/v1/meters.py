"""v1 meters (metering section 12)."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field, StringConstraints

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.paging import V1Paging
from meterhouse.api.problems import errors
from meterhouse.api.wire import Description, Instant, Name, Opt, ResourceKey, Ulid, V1Model
from meterhouse.kernel.conditions import Sort
from meterhouse.metering import meters
from meterhouse.metering.meters import Aggregation, Meter, MeterUpdate, NewMeter

router = APIRouter(tags=["Meters"])

ID_OR_SLUG_PATTERN = r"^[a-z0-9]+(?:_[a-z0-9]+)*$|^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"

MeterIdOrSlug = Annotated[
    str,
    Path(
        alias="meterIdOrSlug",
        min_length=1,
        max_length=64,
        pattern=ID_OR_SLUG_PATTERN,
        description="The id or the slug of a meter. A deleted meter is found by its id only.",
    ),
]
Text = Annotated[str, StringConstraints(min_length=1)]


class MeterAggregation(StrEnum):
    """How a meter makes one number of the events it counts."""

    SUM = "SUM"
    COUNT = "COUNT"
    UNIQUE_COUNT = "UNIQUE_COUNT"
    AVG = "AVG"
    MIN = "MIN"
    MAX = "MAX"
    LATEST = "LATEST"


class MeterOrderBy(StrEnum):
    """What a list of meters can be ordered by."""

    KEY = "key"
    NAME = "name"
    AGGREGATION = "aggregation"
    CREATED_AT = "createdAt"
    UPDATED_AT = "updatedAt"


class SortOrder(StrEnum):
    """The direction of a list."""

    ASC = "ASC"
    DESC = "DESC"


_SORT_FIELDS = {MeterOrderBy.CREATED_AT: "created_at", MeterOrderBy.UPDATED_AT: "updated_at"}


class MeterUpdateBody(V1Model):
    """What can change about a meter. Dimensions and metadata are replaced as a whole."""

    description: Opt[Description] = Field(None, description="What the meter measures; kept when absent.")
    metadata: dict[str, str] | None = Field(None, description="Pairs of the caller's own; removed when absent.")
    name: Opt[Name] = Field(None, description="Name shown to people; kept when absent.")
    group_by: Opt[dict[str, str]] = Field(
        None, description="Dimensions: a name and the JSONPath of its text in the data. Removed when absent."
    )

    def to_value(self) -> MeterUpdate:
        """Read the body."""
        return MeterUpdate(
            name=self.name, description=self.description, group_by=self.group_by or {}, metadata=self.metadata or {}
        )


class MeterCreate(V1Model):
    """A new meter."""

    description: Opt[Description] = Field(None, description="What the meter measures.")
    metadata: dict[str, str] | None = Field(None, description="Pairs of the caller's own.")
    name: Opt[Name] = Field(None, description="Name shown to people; the slug when absent.")
    slug: ResourceKey = Field(description="Key of the meter, unique among those that are not deleted.")
    aggregation: MeterAggregation
    event_type: Text = Field(description="The `type` of the events that count.")
    event_from: Opt[Instant] = Field(None, description="Events before this instant do not count.")
    value_property: Opt[Text] = Field(
        None, description="JSONPath of the value in the data, such as `$.tokens`. Required unless events are counted."
    )
    group_by: Opt[dict[str, str]] = Field(
        None, description="Dimensions: a name and the JSONPath of its text in the data."
    )

    def to_value(self) -> NewMeter:
        """Read the body."""
        return NewMeter(
            key=self.slug,
            name=self.name or self.slug,
            description=self.description,
            event_type=self.event_type,
            aggregation=Aggregation(self.aggregation.value.lower()),
            value_property=self.value_property,
            group_by=self.group_by or {},
            event_from=self.event_from,
            metadata=self.metadata or {},
        )


class MeterResource(V1Model):
    """A meter: how events of one type become a number."""

    id: Ulid
    description: Opt[Description] = None
    metadata: dict[str, str] | None = None
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    name: Opt[Name] = None
    slug: ResourceKey
    aggregation: MeterAggregation
    event_type: Text
    event_from: Opt[Instant] = None
    value_property: Opt[Text] = None
    group_by: Opt[dict[str, str]] = None
    annotations: dict[str, Any] | None = None

    @classmethod
    def of(cls, meter: Meter) -> "MeterResource":
        """Show a meter."""
        event_from: datetime | None = meter.event_from
        return cls(
            id=meter.id,
            description=meter.description,
            metadata=dict(meter.metadata) or None,
            created_at=meter.created_at,
            updated_at=meter.updated_at,
            deleted_at=meter.deleted_at,
            name=meter.name,
            slug=meter.key,
            aggregation=MeterAggregation(meter.aggregation.value.upper()),
            event_type=meter.event_type,
            event_from=event_from,
            value_property=meter.value_property,
            group_by=dict(meter.group_by) or None,
            annotations=dict(meter.annotations) or None,
        )


@router.get(
    "/api/v1/meters",
    operation_id="listMeters",
    summary="List meters",
    response_model=list[MeterResource],
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_meters(
    session: Read,
    namespace: Namespace,
    _page: V1Paging,
    order: Annotated[SortOrder, Query(description="Direction of the list.")] = SortOrder.ASC,
    order_by: Annotated[
        MeterOrderBy, Query(alias="orderBy", description="What the list is ordered by.")
    ] = MeterOrderBy.KEY,
    include_deleted: Annotated[bool, Query(alias="includeDeleted", description="Show deleted meters too.")] = False,
) -> list[MeterResource]:
    """Show all meters; the paging parameters are accepted and change nothing."""
    sort = Sort(_SORT_FIELDS.get(order_by, order_by.value), descending=order is SortOrder.DESC)
    page = await meters.list_meters(session, namespace, include_deleted=include_deleted, sorts=[sort])
    return [MeterResource.of(meter) for meter in page.items]


@router.post(
    "/api/v1/meters",
    operation_id="createMeter",
    summary="Create a meter",
    status_code=201,
    response_model=MeterResource,
    responses=errors("v1", 400, 401, 403, 409, 412, 500, 503),
)
async def create_meter(session: Write, namespace: Namespace, services: ServicesDep, body: MeterCreate) -> MeterResource:
    """Create a meter. It counts events that are stored already, too."""
    reserved = services.reserved_event_types
    return MeterResource.of(await meters.create(session, namespace, body.to_value(), reserved_event_types=reserved))


@router.get(
    "/api/v1/meters/{meterIdOrSlug}",
    operation_id="getMeter",
    summary="Get a meter",
    response_model=MeterResource,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_meter(session: Read, namespace: Namespace, id_or_slug: MeterIdOrSlug) -> MeterResource:
    """Show one meter."""
    return MeterResource.of(await meters.get_by_id_or_key(session, namespace, id_or_slug))


@router.put(
    "/api/v1/meters/{meterIdOrSlug}",
    operation_id="updateMeter",
    summary="Update a meter",
    response_model=MeterResource,
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def update_meter(
    session: Write, namespace: Namespace, services: ServicesDep, id_or_slug: MeterIdOrSlug, body: MeterUpdateBody
) -> MeterResource:
    """Change the name, description, dimensions or metadata of a meter. New dimensions hold for stored events too."""
    meter = await meters.get_by_id_or_key(session, namespace, id_or_slug)
    changed = await meters.update(
        session,
        namespace,
        meter.id,
        body.to_value(),
        guards=services.meter_guards,
        reserved_event_types=services.reserved_event_types,
    )
    return MeterResource.of(changed)


@router.delete(
    "/api/v1/meters/{meterIdOrSlug}",
    operation_id="deleteMeter",
    summary="Delete a meter",
    status_code=204,
    response_model=None,
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def delete_meter(session: Write, namespace: Namespace, services: ServicesDep, id_or_slug: MeterIdOrSlug) -> None:
    """Delete a meter. Events stay, and the slug can be used again at once."""
    meter = await meters.get_by_id_or_key(session, namespace, id_or_slug)
    await meters.delete(session, namespace, meter.id, guards=services.meter_guards)
