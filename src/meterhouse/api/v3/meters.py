"""v3 meters (metering section 12)."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field, StringConstraints

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.filters import FieldKind, list_parameters, parse_filters, parse_sort
from meterhouse.api.labels import Labels, ShownLabels, labels_of, metadata_of
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import errors
from meterhouse.api.wire import Description, Instant, Name, Opt, ResourceKey, Ulid, V3Model
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.errors import InvalidInput, Issue
from meterhouse.metering import meters
from meterhouse.metering.meters import Aggregation, MeterUpdate, NewMeter
from meterhouse.metering.query import CUSTOMER, SUBJECT

router = APIRouter(tags=["Meters"])

PATH = "/api/v3/openmeter/meters"
_FIELDS = {"key": FieldKind.STRING, "name": FieldKind.STRING}
_SORT_FIELDS = ("key", "name", "aggregation", "created_at", "updated_at")

MeterId = Annotated[Ulid, Path(alias="meterId", description="The id of a meter, which may be deleted.")]
Text = Annotated[str, StringConstraints(min_length=1)]
_DIMENSIONS = "Names of dimensions, and the JSONPath of their text in the data."


def _checked(dimensions: Mapping[str, str] | None) -> Mapping[str, str]:
    """Refuse names that mean something in every meter.

    Raises:
        InvalidInput: a dimension is named `subject` or `customer_id`.
    """
    issues = [
        Issue(
            "reserved_dimension",
            f"dimension name is reserved: {name}",
            f"$.dimensions.{name}",
            attributes={"value": name},
        )
        for name in dimensions or {}
        if name in (SUBJECT, CUSTOMER)
    ]
    if issues:
        raise InvalidInput("\n".join(issue.message for issue in issues), issues=issues)
    return dimensions or {}


class CreateMeterRequest(V3Model):
    """A new meter."""

    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    key: ResourceKey = Field(description="Unique among the meters that are not deleted.")
    aggregation: Aggregation
    event_type: Text = Field(description="The `type` of the events that count.")
    events_from: Opt[Instant] = Field(None, description="Events before this instant do not count.")
    value_property: Opt[Text] = Field(
        None, description="JSONPath of the value in the data. Required unless events are counted."
    )
    dimensions: Opt[dict[str, str]] = Field(None, description=_DIMENSIONS)

    def to_value(self) -> NewMeter:
        """Read the body."""
        return NewMeter(
            key=self.key,
            name=self.name,
            description=self.description,
            event_type=self.event_type,
            aggregation=self.aggregation,
            value_property=self.value_property,
            group_by=_checked(self.dimensions),
            event_from=self.events_from,
            metadata=metadata_of(self.labels),
        )


class UpdateMeterRequest(V3Model):
    """What can change about a meter. Labels and dimensions are replaced as a whole; the rest is kept when absent."""

    name: Opt[Name] = None
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    dimensions: Opt[dict[str, str]] = Field(None, description=_DIMENSIONS)

    def to_value(self, stored: meters.Meter) -> MeterUpdate:
        """Read what changes of a meter."""
        return MeterUpdate(
            name=self.name,
            description=self.description,
            group_by=_checked(self.dimensions),
            metadata=metadata_of(self.labels, stored.metadata, stored.annotations),
        )


class Meter(V3Model):
    """A meter: how events of one type become a number."""

    id: Ulid
    name: Name
    description: Opt[Description] = None
    labels: ShownLabels
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    key: ResourceKey
    aggregation: Aggregation
    event_type: Text
    events_from: Opt[Instant] = None
    value_property: Opt[Text] = None
    dimensions: Opt[dict[str, str]] = None

    @classmethod
    def of(cls, meter: meters.Meter) -> "Meter":
        """Show a meter."""
        return cls(
            id=meter.id,
            name=meter.name,
            description=meter.description,
            labels=labels_of(meter.metadata, meter.annotations),
            created_at=meter.created_at,
            updated_at=meter.updated_at,
            deleted_at=meter.deleted_at,
            key=meter.key,
            aggregation=meter.aggregation,
            event_type=meter.event_type,
            events_from=meter.event_from,
            value_property=meter.value_property,
            dimensions=dict(meter.group_by) or None,
        )


@router.post(
    PATH,
    operation_id="createMeter",
    summary="Create a meter",
    status_code=201,
    responses=errors("v3", 400, 401, 403, 409),
)
async def create_meter(body: CreateMeterRequest, session: Write, namespace: Namespace, services: ServicesDep) -> Meter:
    """Create a meter. It counts events that are stored already, too."""
    reserved = services.reserved_event_types
    return Meter.of(await meters.create(session, namespace, body.to_value(), reserved_event_types=reserved))


@router.get(
    PATH,
    operation_id="listMeters",
    summary="List meters",
    responses=errors("v3", 400, 401, 403),
    openapi_extra=list_parameters(_FIELDS, _SORT_FIELDS),
)
async def list_meters(request: Request, session: Read, namespace: Namespace, page: V3Paging) -> V3Page[Meter]:
    """List the meters that are not deleted, the oldest first unless asked otherwise."""
    found = await meters.list_meters(
        session,
        namespace,
        conditions=parse_filters(request, _FIELDS),
        sorts=parse_sort(request, _SORT_FIELDS, [Sort("created_at")]),
        page=page,
    )
    return V3Page.of(found, [Meter.of(meter) for meter in found.items])


@router.get(
    PATH + "/{meterId}",
    operation_id="getMeter",
    summary="Get a meter",
    responses=errors("v3", 400, 401, 403, 404),
)
async def get_meter(meter_id: MeterId, session: Read, namespace: Namespace) -> Meter:
    """Get a meter, deleted or not."""
    return Meter.of(await meters.get(session, namespace, meter_id))


@router.put(
    PATH + "/{meterId}",
    operation_id="updateMeter",
    summary="Update a meter",
    responses=errors("v3", 400, 401, 403, 404, 409),
)
async def update_meter(
    meter_id: MeterId, body: UpdateMeterRequest, session: Write, namespace: Namespace, services: ServicesDep
) -> Meter:
    """Change the name, description, labels or dimensions. New dimensions hold for stored events too."""
    stored = await meters.held(session, namespace, meter_id, to_change=True)
    changed = await meters.update(
        session,
        namespace,
        meter_id,
        body.to_value(stored),
        guards=services.meter_guards,
        reserved_event_types=services.reserved_event_types,
    )
    return Meter.of(changed)


@router.delete(
    PATH + "/{meterId}",
    operation_id="deleteMeter",
    summary="Delete a meter",
    status_code=204,
    responses=errors("v3", 400, 401, 403, 404, 409),
)
async def delete_meter(meter_id: MeterId, session: Write, namespace: Namespace, services: ServicesDep) -> Response:
    """Delete a meter. Events stay, and the key can be used again at once."""
    await meters.delete(session, namespace, meter_id, guards=services.meter_guards)
    return Response(status_code=204)
