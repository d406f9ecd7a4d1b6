"""The services that routes use, made once by the composition root (`meterhouse.runtime`)."""

from dataclasses import dataclass

from meterhouse.kernel.db import Database


@dataclass(frozen=True, slots=True)
class Services:
    """One field per collaborator that a route needs beyond its session."""

    db: Database
    namespace: str
