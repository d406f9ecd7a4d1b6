"""What entitlements say before a customer or a meter goes (customers section 4, metering section 12.3)."""

from meterhouse.customers.customer import Customer
from meterhouse.customers.guards import Guards
from meterhouse.entitlements import repository
from meterhouse.entitlements.repository import EntitlementFilter
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import Conflict, Issue
from meterhouse.metering.meter import Meter


async def refuse_deletion(session: WriteSession, customer: Customer) -> None:
    """Keep a customer that may use something now.

    Raises:
        Conflict: it has an entitlement that holds now.
    """
    chosen = EntitlementFilter(customer_ids=[customer.id], active_at=clock.now())
    found = await repository.active(session, customer.namespace, chosen)
    if found:
        issues = [
            Issue(
                "deleting_customer_with_active_entitlements",
                f"entitlement {row.id} to feature {row.feature_key} is active",
                attributes={"entitlements": [row.id]},
            )
            for row in found
        ]
        keys = ", ".join(row.feature_key for row in found)
        raise Conflict(f"customer has active entitlements, delete them first: {keys}", issues=issues)


async def keep_meter(session: ReadSession, meter: Meter, removed: frozenset[str] | None) -> None:
    """Guard a meter (`metering.meters.Guard`) that measures somebody's usage now; `removed` as there.

    Raises:
        Conflict: an entitlement of a live customer that holds now needs what goes away; its feature may be archived.
    """
    row = await repository.measured_by(session, meter.namespace, meter.id, removed, clock.now())
    if row is not None:
        raise Conflict(f"meter {meter.key} measures entitlement {row.id}")


GUARDS = Guards(deletion=(refuse_deletion,))
