"""Which profile bills a customer; the first one of a namespace is made by itself (billing sections 2 and 3)."""

from dataclasses import replace

import structlog

from meterhouse.billing.errors import BillingNotFound
from meterhouse.billing.ports import AppRegistry
from meterhouse.billing.profiles import repository
from meterhouse.billing.profiles.mapping import columns_of, to_override, to_profile
from meterhouse.billing.profiles.models import OverrideRow, ProfileRow
from meterhouse.billing.profiles.values import Profile, built_in
from meterhouse.kernel import locks
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.pages import Page, PageRequest

log = structlog.get_logger(__name__)

NEWEST_FIRST = Sort("created_at", descending=True)


class Profiles:
    """Billing profiles of all namespaces. `apps` tells which invoicing apps there are."""

    def __init__(self, apps: AppRegistry) -> None:
        self._apps = apps

    async def merged(self, session: WriteSession, namespace: str, customer_id: str) -> Profile:
        """Return the profile that bills the customer now, its override applied.

        A namespace without a default profile gets one, with the sandbox app. Whoever holds the customer's billing lock
        takes it before calling this, so that locks are always taken in one order. A profile whose app is gone falls
        back to the sandbox app.
        """
        override = await repository.override(session, namespace, customer_id)
        row = await self._chosen(session, namespace, override) or await self._provisioned(session, namespace)
        profile = _merge(to_profile(row), override)
        if await self._apps.find(session, namespace, profile.app_id) is None:
            log.warning("app of billing profile is gone, the sandbox stands in", profile=profile.id, app=profile.app_id)
            profile = replace(profile, app_id=(await self._apps.provision_sandbox(session, namespace)).id)
        return profile

    async def find_merged(self, session: ReadSession, namespace: str, customer_id: str) -> Profile:
        """Return what `merged` would, but write nothing: the built-in profile stands for one that is not stored yet."""
        override = await repository.override(session, namespace, customer_id)
        row = await self._chosen(session, namespace, override)
        return _merge(built_in(namespace) if row is None else to_profile(row), override)

    async def default(self, session: WriteSession, namespace: str) -> Profile:
        """Return the namespace's default profile, made on first use."""
        return to_profile(await self._provisioned(session, namespace))

    async def get(self, session: ReadSession, namespace: str, profile_id: str) -> Profile:
        """Return a profile, deleted or not.

        Raises:
            BillingNotFound: code `profile_not_found`.
        """
        row = await repository.profile(session, namespace, profile_id)
        if row is None:
            raise BillingNotFound("profile_not_found", f"billing profile {profile_id} does not exist")
        return to_profile(row)

    async def list_profiles(
        self,
        session: ReadSession,
        namespace: str,
        page: PageRequest,
        *,
        include_deleted: bool = False,
        sort: Sort = NEWEST_FIRST,
    ) -> Page[Profile]:
        """Return one page of profiles, by `created_at`, `updated_at`, `default` or `name`."""
        rows, total = await repository.listed(session, namespace, page, include_deleted=include_deleted, sort=sort)
        return Page([to_profile(row) for row in rows], total, page)

    async def _chosen(self, session: ReadSession, namespace: str, override: OverrideRow | None) -> ProfileRow | None:
        if override is None or override.profile_id is None:
            return await repository.default(session, namespace)
        return await repository.profile(session, namespace, override.profile_id)

    async def _provisioned(self, session: WriteSession, namespace: str) -> ProfileRow:
        row = await repository.default(session, namespace)
        if row is not None:
            return row
        # Whoever waits here finds, after the other's commit, what the other made.
        await locks.lock(session, "billing_profiles", namespace)
        row = await repository.default(session, namespace)
        if row is None:
            app = await self._apps.provision_sandbox(session, namespace)
            row = ProfileRow(**columns_of(built_in(namespace, app.id)))
            session.add(row)
            await session.flush()
        return row


def _merge(profile: Profile, override: OverrideRow | None) -> Profile:
    if override is None:
        return profile
    return replace(profile, workflow=to_override(override).applied_to(profile.workflow))
