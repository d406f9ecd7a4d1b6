"""Which apps a namespace has; the sandbox app is installed by itself (apps section 1)."""

from collections.abc import Collection
from typing import Literal, cast

from meterhouse.apps import repository
from meterhouse.apps.app import App
from meterhouse.apps.models import AppRow
from meterhouse.billing.ports import AppRef
from meterhouse.kernel import locks
from meterhouse.kernel.db import ReadSession, WriteSession


class InstalledApps:
    """The `AppRegistry` port of billing on the table of installed apps."""

    async def provision_sandbox(self, session: WriteSession, namespace: str) -> AppRef:
        """Return the namespace's sandbox app, installing it when there is none."""
        row = await repository.sandbox(session, namespace)
        if row is None:
            # Whoever waits here finds, after the other's commit, what the other installed.
            await locks.lock(session, "apps", namespace)
            row = await repository.sandbox(session, namespace)
        if row is None:
            row = AppRow(namespace=namespace, type="sandbox", name="Sandbox")
            session.add(row)
            await session.flush()
        return _reference(row)

    async def find(self, session: ReadSession, namespace: str, app_id: str) -> AppRef | None:
        """Return an app that is installed, None for an unknown or uninstalled one."""
        row = await repository.installed(session, namespace, app_id)
        return None if row is None else _reference(row)


async def apps_by_id(session: ReadSession, namespace: str, ids: Collection[str]) -> dict[str, App]:
    """Return the apps of these ids, uninstalled ones too, by id; unknown ids are left out."""
    return {row.id: App.of(row) for row in await repository.by_ids(session, namespace, list(ids))}


def _reference(row: AppRow) -> AppRef:
    return AppRef(row.id, cast(Literal["sandbox", "stripe", "custom_invoicing"], row.type), row.name)
