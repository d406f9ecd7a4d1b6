"""What routes are given: a session of the right kind, the namespace, the services."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import FeatureDisabled

if TYPE_CHECKING:
    from meterhouse.api.services import Services
    from meterhouse.billing.profiles import Profiles


def services(request: Request) -> "Services":
    """Return the services that the composition root put on the application."""
    found: Services = request.app.state.services
    return found


def namespace(request: Request) -> str:
    """Return the tenant of the request. The open server has one, from its settings."""
    found: str = request.app.state.services.namespace
    return found


def profiles(request: Request) -> "Profiles":
    """Return the billing profiles.

    Raises:
        FeatureDisabled: the server does no billing.
    """
    found: Profiles | None = request.app.state.services.profiles
    if found is None:
        raise FeatureDisabled("billing is not part of this server")
    return found


async def _read(request: Request) -> AsyncIterator[ReadSession]:
    async with request.app.state.services.db.read() as session:
        yield session


async def _write(request: Request) -> AsyncIterator[WriteSession]:
    async with request.app.state.services.db.write() as session:
        yield session


# "function" scope: the transaction ends before the answer is sent, so an answer never speaks of what is not committed.
Read = Annotated[ReadSession, Depends(_read, scope="function")]
Write = Annotated[WriteSession, Depends(_write, scope="function")]
Namespace = Annotated[str, Depends(namespace)]
ServicesDep = Annotated["Services", Depends(services)]
ProfilesDep = Annotated["Profiles", Depends(profiles)]
