"""v1 portal: tokens, and the meter query that their holders may ask (metering section 15)."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import Field, StringConstraints

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.problems import errors
from meterhouse.api.v1.meter_queries import (
    MAX_LISTED,
    SIMPLE_FILTER_PARAMETER,
    MeterQueryRequest,
    MeterQueryResult,
    WindowSize,
    answer,
    parse_advanced,
    simple_filters,
)
from meterhouse.api.wire import KEY_PATTERN, Instant, Opt, Ulid, V1EventModel
from meterhouse.kernel.errors import FeatureDisabled, Unauthorized
from meterhouse.portal import service
from meterhouse.portal.service import Portal

router = APIRouter(tags=["Portal"])

# Browsers of other sites may read from here, and from nowhere else.
CORS_PREFIX = "/api/v1/portal/meters"
MAX_MANAGED = 100  # tokens that one list shows, as the contract declares; meters of one token, which travel in it

_BEARER = HTTPBearer(
    scheme_name="PortalTokenAuth",
    description="A token of `POST /api/v1/portal/tokens`.",
    auto_error=False,
)
_READ_ONLY: dict[str, Any] = {"readOnly": True}
Text = Annotated[str, StringConstraints(min_length=1)]


class PortalToken(V1EventModel):
    """A token that lets its holder query the usage of one subject. Read-only members of a request are ignored."""

    id: Opt[Ulid] = Field(None, json_schema_extra=_READ_ONLY)
    subject: Text = Field(description="Whose usage the holder may see.")
    expires_at: Opt[Instant] = Field(None, description="Until when it works; for the configured time when absent.")
    expired: Opt[bool] = Field(None, json_schema_extra=_READ_ONLY, description="Whether its time is over.")
    created_at: Opt[Instant] = Field(None, json_schema_extra=_READ_ONLY)
    token: Opt[str] = Field(
        None, json_schema_extra=_READ_ONLY, description="What the holder sends. Shown once, when the token is made."
    )
    allowed_meter_slugs: Opt[list[str]] = Field(
        None,
        max_length=MAX_MANAGED,
        description="The meters it shows; all of them when absent, which is shown as an empty list.",
    )

    @classmethod
    def of(cls, token: service.PortalToken, text: str | None = None) -> "PortalToken":
        """Show a token, with the text that proves it where that is known."""
        return cls(
            id=token.id,
            subject=token.subject,
            expires_at=token.expires_at,
            expired=token.expired(),
            created_at=token.created_at,
            token=text,
            allowed_meter_slugs=list(token.allowed_meters or ()),
        )


class PortalTokenInvalidate(V1EventModel):
    """Which tokens to take back: one by its id, all of a subject, or both."""

    id: Opt[str] = None
    subject: Opt[str] = None


def _portal(services: ServicesDep) -> Portal:
    if services.portal is None:
        raise FeatureDisabled("the portal is switched off; it needs the setting portal_token_secret")
    return services.portal


PortalDep = Annotated[Portal, Depends(_portal)]


@router.post(
    "/api/v1/portal/tokens",
    operation_id="createPortalToken",
    summary="Issue a portal token",
    response_model=PortalToken,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 501, 503),
)
async def create_portal_token(
    portal: PortalDep, body: PortalToken, session: Write, namespace: Namespace
) -> PortalToken:
    """Issue a token. Keep it: it is shown only now."""
    token, text = await portal.create(
        session, namespace, body.subject, allowed_meters=body.allowed_meter_slugs, expires_at=body.expires_at
    )
    return PortalToken.of(token, text)


@router.get(
    "/api/v1/portal/tokens",
    operation_id="listPortalTokens",
    summary="List portal tokens",
    response_model=list[PortalToken],
    dependencies=[Depends(_portal)],
    responses=errors("v1", 400, 401, 403, 412, 500, 501, 503),
)
async def list_portal_tokens(
    session: Read,
    namespace: Namespace,
    limit: Annotated[int, Query(ge=1, le=MAX_MANAGED, description="How many to show.")] = 25,
) -> list[PortalToken]:
    """List the tokens that were not invalidated, the newest first."""
    return [PortalToken.of(token) for token in await service.list_tokens(session, namespace, limit)]


@router.post(
    "/api/v1/portal/tokens/invalidate",
    operation_id="invalidatePortalTokens",
    summary="Invalidate portal tokens",
    status_code=204,
    response_class=Response,
    dependencies=[Depends(_portal)],
    responses=errors("v1", 400, 401, 403, 412, 500, 501, 503),
)
async def invalidate_portal_tokens(body: PortalTokenInvalidate, session: Write, namespace: Namespace) -> None:
    """Make tokens stop working at once."""
    await service.invalidate(session, namespace, token_id=body.id, subject=body.subject)


async def _holder(
    services: ServicesDep,
    namespace: Namespace,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
) -> service.PortalToken:
    """Authenticate, before anything else of the request is looked at."""
    if services.portal is None or credentials is None:
        raise Unauthorized("a portal token is required")
    async with services.db.read() as session:
        return await services.portal.authenticate(session, namespace, credentials.credentials)


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}},
    **errors("v1", 400, 401, 403, 404, 412, 500, 503),
}


@router.get(
    "/api/v1/portal/meters/{meterSlug}/query",
    operation_id="queryPortalMeter",
    summary="Query a meter as the holder of a portal token",
    response_model=MeterQueryResult,
    responses=_RESPONSES,
    openapi_extra={"parameters": [SIMPLE_FILTER_PARAMETER]},
)
async def query_portal_meter(
    holder: Annotated[service.PortalToken, Depends(_holder)],
    request: Request,
    namespace: Namespace,
    services: ServicesDep,
    slug: Annotated[
        str,
        Path(alias="meterSlug", min_length=1, max_length=64, pattern=KEY_PATTERN, description="The slug of a meter."),
    ],
    _client_id: Annotated[
        str | None, Query(alias="clientId", min_length=1, max_length=36, description="Accepted for compatibility.")
    ] = None,
    from_: Annotated[Instant | None, Query(alias="from", description="Earliest event time, included.")] = None,
    to: Annotated[Instant | None, Query(description="Event time to stop before.")] = None,
    window_size: Annotated[
        WindowSize | None, Query(alias="windowSize", description="Give one number per window.")
    ] = None,
    window_time_zone: Annotated[
        str, Query(alias="windowTimeZone", description="IANA name of the zone whose days and months are meant.")
    ] = "UTC",
    _filter_customer_id: Annotated[
        list[str] | None,
        Query(
            alias="filterCustomerId",
            max_length=MAX_LISTED,
            description="Accepted for compatibility: the token decides whose usage is shown.",
        ),
    ] = None,
    advanced: Annotated[
        str | None,
        Query(
            alias="advancedMeterGroupByFilters",
            description="Conditions by dimension, as the JSON text of an object. Not together with `filterGroupBy`.",
        ),
    ] = None,
    group_by: Annotated[list[str] | None, Query(alias="groupBy", description="Dimensions to split by.")] = None,
) -> Response:
    """Measure the usage of the token's subject. Dimensions can be filtered by `filterGroupBy[name]=text`."""
    if not holder.allows(slug):
        raise Unauthorized(f"the portal token does not allow the meter {slug}")
    asked = MeterQueryRequest.model_construct(
        from_=from_,
        to=to,
        window_size=window_size,
        window_time_zone=window_time_zone,
        subject=[holder.subject],
        filter_group_by=simple_filters(request),
        advanced_meter_group_by_filters=parse_advanced(advanced),
        group_by=group_by,
    )
    return await answer(request, services, namespace, slug, asked)
