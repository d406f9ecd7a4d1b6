"""Which profile bills a customer; the first one of a namespace is made by itself (billing sections 2 and 3)."""

from dataclasses import fields, replace
from typing import Any

import structlog

from meterhouse.billing.errors import BillingError, BillingNotFound
from meterhouse.billing.ports import AppRegistry
from meterhouse.billing.profiles import repository
from meterhouse.billing.profiles.checks import check, check_apps
from meterhouse.billing.profiles.mapping import columns_of, to_profile, to_workflow_override
from meterhouse.billing.profiles.models import OverrideRow, ProfileRow
from meterhouse.billing.profiles.values import AppChoice, Profile, ProfileInput, built_in
from meterhouse.catalog import taxcodes
from meterhouse.catalog.prices import TaxConfig
from meterhouse.kernel import clock, locks
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import invalid
from meterhouse.kernel.pages import Page, PageRequest

log = structlog.get_logger(__name__)

TAX_CONFIG = "$.workflow.tax.default_tax_config"
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
        profile = merge(to_profile(row), override)
        if await self._apps.find(session, namespace, profile.app_id) is None:
            log.warning("app of billing profile is gone, the sandbox stands in", profile=profile.id, app=profile.app_id)
            profile = replace(profile, app_id=(await self._apps.provision_sandbox(session, namespace)).id)
        return profile

    async def find_merged(self, session: ReadSession, namespace: str, customer_id: str) -> Profile:
        """Return what `merged` would, but write nothing: the built-in profile stands for one that is not stored yet."""
        override = await repository.override(session, namespace, customer_id)
        row = await self._chosen(session, namespace, override)
        return merge(built_in(namespace) if row is None else to_profile(row), override)

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
            raise _not_found(profile_id)
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

    async def create(self, session: WriteSession, namespace: str, given: ProfileInput, apps: AppChoice) -> Profile:
        """Make a profile; as the default it takes the place of the present one.

        Raises:
            InvalidInput: a rule of section 2.2 is broken, the app is not installed, or the tax code is unknown.
        """
        check(given)
        app_id = check_apps(apps)
        if await self._apps.find(session, namespace, app_id) is None:
            raise invalid(f"app {app_id} is not installed", field="$.apps.invoicing")
        profile = Profile(id="", namespace=namespace, app_id=app_id, **_members(given))
        tax = await self._tax_config(session, namespace, given)
        profile = replace(profile, workflow=replace(profile.workflow, default_tax_config=tax))
        if given.default:
            await self._demote(session, namespace, app_id)
        row = ProfileRow(**columns_of(profile))
        session.add(row)
        await session.flush()
        return to_profile(row)

    async def update(self, session: WriteSession, namespace: str, profile_id: str, given: ProfileInput) -> Profile:
        """Replace a profile, its app aside; as the default it takes the place of the present one.

        Raises:
            BillingNotFound: code `profile_not_found`.
            BillingError: codes `profile_already_deleted`, `default_profile_cannot_be_unset`.
            InvalidInput: a rule of section 2.2 is broken, or the default tax code would be another one.
        """
        check(given)
        await self._lock(session, namespace)
        row = await self._held(session, namespace, profile_id)
        if row.deleted_at is not None:
            raise BillingError("profile_already_deleted", f"billing profile {profile_id} is deleted")
        if row.is_default and not given.default:
            message = "the default profile stays the default until another one is made it"
            raise BillingError("default_profile_cannot_be_unset", message)
        before = to_profile(row)
        kept = before.workflow.default_tax_config
        tax = await self._tax_config(session, namespace, given, kept)
        _check_same_code(kept, tax)
        if given.default and not row.is_default:
            await self._demote(session, namespace, row.app_id)
        after = replace(before, **_members(given))
        after = replace(after, workflow=replace(after.workflow, default_tax_config=tax))
        for name, value in columns_of(after).items():
            setattr(row, name, value)
        row.updated_at = clock.now()
        await session.flush()
        return to_profile(row)

    async def delete(self, session: WriteSession, namespace: str, profile_id: str) -> None:
        """Delete a profile; one that is deleted stays so.

        Raises:
            BillingNotFound: code `profile_not_found`.
            BillingError: codes `default_profile_cannot_be_deleted`, `profile_referenced`.
        """
        await self._lock(session, namespace)
        row = await self._held(session, namespace, profile_id)
        if row.deleted_at is not None:
            return
        if row.is_default:
            raise BillingError("default_profile_cannot_be_deleted", "the default profile cannot be deleted")
        if await repository.is_pinned_to(session, namespace, profile_id):
            raise BillingError("profile_referenced", f"customers are pinned to billing profile {profile_id}")
        row.deleted_at = row.updated_at = clock.now()
        await session.flush()

    async def _held(self, session: WriteSession, namespace: str, profile_id: str) -> ProfileRow:
        row = await repository.profile(session, namespace, profile_id, hold="update")
        if row is None:
            raise _not_found(profile_id)
        return row

    async def _lock(self, session: WriteSession, namespace: str) -> None:
        await locks.lock(session, "billing_profiles", namespace)

    async def _demote(self, session: WriteSession, namespace: str, app_id: str) -> None:
        """Make room for another default profile.

        Where that bills through another type of app, customers who pay stay with the profile they have.
        """
        await self._lock(session, namespace)
        row = await repository.default(session, namespace)
        if row is None:
            return
        old, new = [await self._apps.find(session, namespace, one) for one in (row.app_id, app_id)]
        if old is not None and new is not None and old.type != new.type:
            paying = await repository.paying_unpinned(session, namespace, clock.now())
            await repository.pin(session, namespace, paying, row.id)
        row.is_default = False
        # Before the other becomes the default: the database never allows two.
        await session.flush()

    async def _tax_config(
        self, session: WriteSession, namespace: str, given: ProfileInput, kept: TaxConfig | None = None
    ) -> TaxConfig | None:
        """Return the config as it is stored; the code of `kept` stays usable when its tax code is deleted."""
        config = given.workflow.default_tax_config
        if config is None or config == TaxConfig():
            return None
        if kept is not None and config.tax_code_id is None and config.stripe_code == kept.stripe_code is not None:
            config = config.model_copy(update={"tax_code_id": kept.tax_code_id})
        same = kept is not None and config.tax_code_id == kept.tax_code_id
        return await taxcodes.resolved(session, namespace, config, field=TAX_CONFIG, kept=same)

    async def _chosen(self, session: ReadSession, namespace: str, override: OverrideRow | None) -> ProfileRow | None:
        if override is None or override.profile_id is None:
            return await repository.default(session, namespace)
        return await repository.profile(session, namespace, override.profile_id)

    async def _provisioned(self, session: WriteSession, namespace: str) -> ProfileRow:
        row = await repository.default(session, namespace)
        if row is not None:
            return row
        # Whoever waits here finds, after the other's commit, what the other made.
        await self._lock(session, namespace)
        row = await repository.default(session, namespace)
        if row is None:
            app = await self._apps.provision_sandbox(session, namespace)
            row = ProfileRow(**columns_of(built_in(namespace, app.id)))
            session.add(row)
            await session.flush()
        return row


def _not_found(profile_id: str) -> BillingNotFound:
    return BillingNotFound("profile_not_found", f"billing profile {profile_id} does not exist")


def _members(given: ProfileInput) -> dict[str, Any]:
    return {part.name: getattr(given, part.name) for part in fields(given)}


def _check_same_code(before: TaxConfig | None, after: TaxConfig | None) -> None:
    """Refuse a tax code that is new: the organization's default has taken the place of the profiles' own."""
    code = None if after is None else after.tax_code_id
    if code is not None and (before is None or code != before.tax_code_id):
        raise invalid("the tax code of a profile can be removed, but neither added nor changed", field=TAX_CONFIG)


def merge(profile: Profile, override: OverrideRow | None) -> Profile:
    """Return the profile with a customer's override applied."""
    if override is None:
        return profile
    return replace(profile, workflow=to_workflow_override(override).applied_to(profile.workflow))
