"""How single customers are billed: pinning them to profiles, and reading what comes of it (billing section 3)."""

from collections.abc import Sequence

from meterhouse.billing.errors import BillingNotFound
from meterhouse.billing.profiles import repository
from meterhouse.billing.profiles.mapping import to_override, to_profile
from meterhouse.billing.profiles.repository import OverrideFilter
from meterhouse.billing.profiles.service import Profiles, merge
from meterhouse.billing.profiles.values import CustomerProfile
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import NotFound, invalid
from meterhouse.kernel.pages import Page, PageRequest

BY_NEWEST_CUSTOMER = (Sort("customer_id", descending=True),)


class Overrides:
    """The ties between customers and profiles. Reading is a use: it makes a namespace's first profile."""

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    async def get(self, session: WriteSession, namespace: str, customer_id: str) -> CustomerProfile:
        """Return how a customer is billed, deleted customers included.

        Raises:
            BillingNotFound: code `customer_not_found`.
        """
        customer = await _customer(session, namespace, customer_id)
        profile = await self._profiles.merged(session, namespace, customer_id)
        row = await repository.override(session, namespace, customer_id)
        return CustomerProfile(customer, profile, None if row is None else to_override(row))

    async def pin(
        self, session: WriteSession, namespace: str, customer_id: str, profile_id: str | None = None
    ) -> CustomerProfile:
        """Pin a customer to a profile, without one to the present default. Other settings of the override stay.

        Raises:
            BillingNotFound: code `customer_not_found` or `profile_not_found`.
        """
        await _customer(session, namespace, customer_id)
        if profile_id is None:
            profile_id = (await self._profiles.default(session, namespace)).id
        # Held until the end, so that the profile is not deleted in the same moment.
        row = await repository.profile(session, namespace, profile_id, hold="share")
        if row is None or row.deleted_at is not None:
            raise BillingNotFound("profile_not_found", f"billing profile {profile_id} does not exist")
        await repository.pin(session, namespace, [customer_id], profile_id)
        return await self.get(session, namespace, customer_id)

    async def release(self, session: WriteSession, namespace: str, customer_id: str) -> None:
        """Delete a customer's override: it follows the default profile again.

        Raises:
            BillingNotFound: code `customer_override_not_found`, or `customer_override_deleted` when it is deleted.
        """
        found = await repository.override_ever(session, namespace, customer_id)
        if found is None:
            raise BillingNotFound("customer_override_not_found", f"customer {customer_id} has no billing override")
        if not await repository.release(session, found.id):
            message = f"the billing override of customer {customer_id} is deleted"
            raise BillingNotFound("customer_override_deleted", message)

    async def listed(
        self,
        session: WriteSession,
        namespace: str,
        chosen: OverrideFilter,
        *,
        sorts: Sequence[Sort] = BY_NEWEST_CUSTOMER,
        page: PageRequest,
    ) -> Page[CustomerProfile]:
        """Return a page of live customers and how they are billed.

        Sorts: `customer_id`, `name`, `key`, `primary_email`, `created_at`.

        Raises:
            InvalidInput: profiles are asked for together with customers that are pinned to none.
        """
        if chosen.unpinned and chosen.profile_ids is not None:
            raise invalid("billingProfile cannot be combined with customersWithoutPinnedProfile")
        default = await self._profiles.default(session, namespace)
        ids, total = await repository.customer_page(session, namespace, chosen, sorts, page)
        found = await customers.find_many(session, namespace, ids)
        overrides = {row.customer_id: row for row in await repository.overrides(session, namespace, ids)}
        wanted = {row.profile_id for row in overrides.values() if row.profile_id is not None}
        pinned = {row.id: to_profile(row) for row in await repository.profiles(session, namespace, wanted)}
        items = []
        for customer_id in ids:
            row = overrides.get(customer_id)
            base = default if row is None or row.profile_id is None else pinned[row.profile_id]
            override = None if row is None else to_override(row)
            items.append(CustomerProfile(found[customer_id], merge(base, row), override))
        return Page(items, total, page)


async def _customer(session: WriteSession, namespace: str, customer_id: str) -> Customer:
    try:
        return await customers.get(session, namespace, customer_id)
    except NotFound as error:
        raise BillingNotFound("customer_not_found", f"customer {customer_id} does not exist") from error
