"""Entitlements addressed by a subject of their customer: v1. Every subject of a customer leads to the same ones."""

from fastapi import APIRouter, BackgroundTasks, Response

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.problems import errors
from meterhouse.api.v1.entitlements.common import (
    MAX_GRANTS_SHOWN,
    EntitlementId,
    HistoryFrom,
    HistoryTo,
    HistoryWindow,
    HistoryZone,
    IdOrFeatureKey,
    IncludeDeleted,
    Time,
    history_of,
    value_of,
)
from meterhouse.api.v1.entitlements.grants import EntitlementGrant, EntitlementGrantCreateInput
from meterhouse.api.v1.entitlements.paging import GrantOrderBy, sorts
from meterhouse.api.v1.entitlements.parts import EntitlementValue, ResetEntitlementUsageInput, WindowedBalanceHistory
from meterhouse.api.v1.entitlements.schemas import Entitlement, EntitlementCreateInputs, shown_v1
from meterhouse.api.v1.subjects import SubjectIdOrKey
from meterhouse.customers import attribution, subjects
from meterhouse.customers.customer import Customer
from meterhouse.entitlements import entitlement as values
from meterhouse.entitlements import grants, resets, service
from meterhouse.entitlements.service import Stretch
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import NotFound, PreconditionFailed

router = APIRouter(tags=["Entitlements"])

_ALL = "/api/v1/subjects/{subjectIdOrKey}/entitlements"
_BY_ID = _ALL + "/{entitlementId}"
_BY_NAME = _ALL + "/{entitlementIdOrFeatureKey}"


async def _customer(session: ReadSession, namespace: str, id_or_key: str) -> Customer:
    """Return the live customer of a subject."""
    subject = await subjects.get_by_id_or_key(session, namespace, id_or_key)
    if subject.deleted_at is not None:
        raise PreconditionFailed(f"subject is deleted: {subject.id}")
    return await attribution.resolve_one(session, namespace, subject.key)


async def _found(session: ReadSession, namespace: str, subject: str, entitlement: str) -> values.Entitlement:
    customer = await _customer(session, namespace, subject)
    return await service.get_of_customer(session, namespace, customer.id, entitlement)


@router.post(
    _ALL,
    operation_id="createEntitlement",
    summary="Create an entitlement of a subject",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def create_entitlement(
    subject_id_or_key: SubjectIdOrKey, body: EntitlementCreateInputs, session: Write, namespace: Namespace
) -> Entitlement:
    """Give the customer of a subject an entitlement from now on."""
    customer = await _customer(session, namespace, subject_id_or_key)
    return shown_v1(await service.create(session, namespace, customer.id, body.to_value()), customer)


@router.get(
    _ALL,
    operation_id="listSubjectEntitlements",
    summary="List entitlements of a subject",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def list_subject_entitlements(
    subject_id_or_key: SubjectIdOrKey, session: Read, namespace: Namespace, include_deleted: IncludeDeleted = False
) -> list[Entitlement]:
    """List what the customer of a subject may use now."""
    customer = await _customer(session, namespace, subject_id_or_key)
    found = await service.active_of(session, namespace, [customer.id], clock.now())
    oldest_first = sorted(found, key=lambda one: (one.created_at, one.id))
    return [shown_v1(one, customer) for one in oldest_first]


@router.get(
    _BY_ID,
    operation_id="getEntitlement",
    summary="Get an entitlement of a subject",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_entitlement(
    subject_id_or_key: SubjectIdOrKey, entitlement_id: EntitlementId, session: Read, namespace: Namespace
) -> Entitlement:
    """Get an entitlement, whether or not it holds now."""
    customer = await _customer(session, namespace, subject_id_or_key)
    return shown_v1(await service.get_of_customer(session, namespace, customer.id, entitlement_id), customer)


@router.delete(
    _BY_ID,
    operation_id="deleteEntitlement",
    summary="Delete an entitlement of a subject",
    status_code=204,
    response_class=Response,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def delete_entitlement(
    subject_id_or_key: SubjectIdOrKey, entitlement_id: EntitlementId, session: Write, namespace: Namespace
) -> None:
    """Delete an entitlement with its grants."""
    found = await _found(session, namespace, subject_id_or_key, entitlement_id)
    await service.delete(session, namespace, found.id)


@router.put(
    _BY_NAME + "/override",
    operation_id="overrideEntitlement",
    summary="Replace an entitlement of a subject",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def override_entitlement(
    subject_id_or_key: SubjectIdOrKey,
    entitlement: IdOrFeatureKey,
    body: EntitlementCreateInputs,
    session: Write,
    namespace: Namespace,
) -> Entitlement:
    """End an entitlement now and begin another one to the same feature, with grants of its own."""
    customer = await _customer(session, namespace, subject_id_or_key)
    return shown_v1(await service.override(session, namespace, customer.id, entitlement, body.to_value()), customer)


@router.get(
    _BY_NAME + "/grants",
    operation_id="listEntitlementGrants",
    summary="List grants of an entitlement of a subject",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def list_entitlement_grants(
    subject_id_or_key: SubjectIdOrKey,
    entitlement: IdOrFeatureKey,
    session: Read,
    namespace: Namespace,
    include_deleted: IncludeDeleted = False,
    order_by: GrantOrderBy = None,
) -> list[EntitlementGrant]:
    """List the grants of an entitlement, voided ones too, the oldest first."""
    owner = await _found(session, namespace, subject_id_or_key, entitlement)
    first = Stretch(0, MAX_GRANTS_SHOWN)
    found, _ = await grants.list_of(session, namespace, owner.id, sorts("createdAt", "ASC"), first)
    return [EntitlementGrant.of(grant) for grant in found]


@router.post(
    _BY_NAME + "/grants",
    operation_id="createGrant",
    summary="Add a grant to an entitlement of a subject",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def create_grant(
    subject_id_or_key: SubjectIdOrKey,
    entitlement: IdOrFeatureKey,
    body: EntitlementGrantCreateInput,
    session: Write,
    namespace: Namespace,
) -> EntitlementGrant:
    """Add a grant that begins in the current usage period or later."""
    owner = await _found(session, namespace, subject_id_or_key, entitlement)
    return EntitlementGrant.of(await grants.create(session, namespace, owner.id, body.to_value()))


@router.get(
    _BY_NAME + "/value",
    operation_id="getEntitlementValue",
    summary="Read what an entitlement of a subject is worth",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_value(
    subject_id_or_key: SubjectIdOrKey,
    entitlement: IdOrFeatureKey,
    session: Read,
    namespace: Namespace,
    services: ServicesDep,
    background: BackgroundTasks,
    time: Time = None,
) -> EntitlementValue:
    """Read access and balance at an instant. Here an entitlement that is not there is not found."""
    customer = await _customer(session, namespace, subject_id_or_key)
    found = await value_of(session, namespace, services, background, customer.id, entitlement, time)
    if found is None:
        raise NotFound(f"entitlement not found: {entitlement}")
    return EntitlementValue.of(found)


@router.get(
    _BY_ID + "/history",
    operation_id="getEntitlementHistory",
    summary="Read how an entitlement of a subject was burnt down",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_history(
    subject_id_or_key: SubjectIdOrKey,
    entitlement_id: EntitlementId,
    session: Read,
    namespace: Namespace,
    services: ServicesDep,
    window_size: HistoryWindow,
    start: HistoryFrom = None,
    to: HistoryTo = None,
    window_time_zone: HistoryZone = "UTC",
) -> WindowedBalanceHistory:
    """Read usage and balance by windows of time, and the stretches in which the same grants were active."""
    found = await _found(session, namespace, subject_id_or_key, entitlement_id)
    return await history_of(session, namespace, services, found, window_size, window_time_zone, start, to)


@router.post(
    _BY_ID + "/reset",
    operation_id="resetEntitlementUsage",
    summary="Reset the usage of an entitlement of a subject",
    status_code=204,
    response_class=Response,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def reset_usage(
    subject_id_or_key: SubjectIdOrKey,
    entitlement_id: EntitlementId,
    body: ResetEntitlementUsageInput,
    session: Write,
    namespace: Namespace,
) -> None:
    """Begin a new usage period."""
    owner = await _found(session, namespace, subject_id_or_key, entitlement_id)
    await resets.reset(session, namespace, owner.id, **body.members())
