"""v1 subjects (metering section 14, customers section 10)."""

from math import isfinite
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Response
from pydantic import AfterValidator, Field, StringConstraints

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.problems import errors
from meterhouse.api.wire import Instant, Opt, Ulid, V1Model
from meterhouse.customers import subjects as service
from meterhouse.customers.customer import UNSET

router = APIRouter(tags=["Subjects"])

MAX_UPSERTED = 10_000  # one request is one transaction, which must not hold rows for long

SubjectIdOrKey = Annotated[
    str,
    Path(
        alias="subjectIdOrKey",
        min_length=1,
        description="The id or the key of a subject. A deleted subject is found by its id only.",
    ),
]
MAX_DEPTH = 64  # of metadata; far deeper JSON can be read but not written


def _storable(metadata: dict[str, Any]) -> dict[str, Any]:
    left: list[tuple[Any, int]] = [(metadata, 0)]
    while left:
        value, depth = left.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"must not be nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, float) and not isfinite(value):
            raise ValueError("must hold finite numbers only")
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        left += [(item, depth + 1) for item in items]
    return metadata


Metadata = Annotated[dict[str, Any], AfterValidator(_storable)]
_PERIOD = Field(None, json_schema_extra={"deprecated": True}, description="Accepted for compatibility; not kept.")


class SubjectUpsert(V1Model):
    """A subject to create or change. What is left out of a change stays; null clears."""

    key: Annotated[str, StringConstraints(min_length=1)] = Field(description="What events carry as their subject.")
    display_name: str | None = Field(None, description="Name for people.")
    metadata: Metadata | None = Field(None, description="Anything you want to keep with it.")
    current_period_start: Opt[Instant] = _PERIOD
    current_period_end: Opt[Instant] = _PERIOD
    stripe_customer_id: str | None = Field(
        None, json_schema_extra={"deprecated": True}, description="Id of the customer at Stripe; starts with `cus_`."
    )

    def to_value(self) -> service.SubjectUpsert:
        """Read the change."""
        given = self.model_fields_set
        return service.SubjectUpsert(
            key=self.key,
            display_name=self.display_name if "display_name" in given else UNSET,
            metadata=self.metadata if "metadata" in given else UNSET,
            stripe_customer_id=self.stripe_customer_id if "stripe_customer_id" in given else UNSET,
        )


class Subject(V1Model):
    """What usage is reported by, with a name and metadata."""

    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    id: Ulid
    key: str
    display_name: Opt[str] = None
    metadata: Opt[dict[str, Any]] = None
    current_period_start: Opt[Instant] = Field(None, json_schema_extra={"deprecated": True}, description="Never shown.")
    current_period_end: Opt[Instant] = Field(None, json_schema_extra={"deprecated": True}, description="Never shown.")
    stripe_customer_id: Opt[str] = Field(None, json_schema_extra={"deprecated": True})

    @classmethod
    def of(cls, subject: service.Subject) -> "Subject":
        """Show a subject."""
        return cls(
            created_at=subject.created_at,
            updated_at=subject.updated_at,
            deleted_at=subject.deleted_at,
            id=subject.id,
            key=subject.key,
            display_name=subject.display_name,
            metadata=dict(subject.metadata) or None,
            stripe_customer_id=subject.stripe_customer_id,
        )


@router.post(
    "/api/v1/subjects",
    operation_id="upsertSubjects",
    summary="Create or change subjects",
    deprecated=True,
    responses=errors("v1", 400, 401, 403, 409, 412, 500, 503),
)
async def upsert_subjects(
    body: Annotated[list[SubjectUpsert], Body(max_length=MAX_UPSERTED)],
    session: Write,
    namespace: Namespace,
    services: ServicesDep,
) -> list[Subject]:
    """Create subjects and change those that exist, all or none. Customers with subject keys do the same and more."""
    items = [item.to_value() for item in body]
    changed = await service.upsert(session, namespace, items, services.subject_follower)
    return [Subject.of(subject) for subject in changed]


@router.get(
    "/api/v1/subjects",
    operation_id="listSubjects",
    summary="List subjects",
    deprecated=True,
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_subjects(session: Read, namespace: Namespace) -> list[Subject]:
    """List all subjects, oldest first."""
    return [Subject.of(subject) for subject in await service.list_subjects(session, namespace)]


@router.get(
    "/api/v1/subjects/{subjectIdOrKey}",
    operation_id="getSubject",
    summary="Get a subject",
    deprecated=True,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_subject(id_or_key: SubjectIdOrKey, session: Read, namespace: Namespace) -> Subject:
    """Get a subject by id, deleted ones included, or by key."""
    return Subject.of(await service.get_by_id_or_key(session, namespace, id_or_key))


@router.delete(
    "/api/v1/subjects/{subjectIdOrKey}",
    operation_id="deleteSubject",
    summary="Delete a subject",
    status_code=204,
    response_class=Response,
    deprecated=True,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def delete_subject(
    id_or_key: SubjectIdOrKey, session: Write, namespace: Namespace, services: ServicesDep
) -> None:
    """Delete a subject by id or key. Its usage stays."""
    await service.delete(session, namespace, id_or_key, services.subject_follower)
