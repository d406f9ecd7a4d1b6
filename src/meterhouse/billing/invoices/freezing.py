"""Copying profile and customer into a standard invoice, so that later changes do not reach it (billing 5.5)."""

from meterhouse.billing.invoices.snapshots import InvoiceWorkflow, Party, PartyAddress
from meterhouse.billing.profiles import Profile
from meterhouse.customers.customer import Address, Customer


def _address(address: Address | None) -> PartyAddress | None:
    if address is None:
        return None
    return PartyAddress(
        country=address.country,
        postal_code=address.postal_code,
        state=address.state,
        city=address.city,
        line1=address.line1,
        line2=address.line2,
        phone_number=address.phone_number,
    )


def customer_party(customer: Customer) -> Party:
    """Copy a customer."""
    return Party(
        id=customer.id,
        key=customer.key,
        name=customer.name,
        address=_address(customer.billing_address),
        subject_keys=customer.subject_keys,
    )


def supplier_party(profile: Profile) -> Party:
    """Copy the supplier of a profile."""
    supplier = profile.supplier
    return Party(
        id=profile.id, key=supplier.key, name=supplier.name, tax_id=supplier.tax_id, address=_address(supplier.address)
    )


def workflow_of(profile: Profile) -> InvoiceWorkflow:
    """Copy the workflow of a merged profile."""
    flow = profile.workflow
    ticks = flow.collection_ticks
    return InvoiceWorkflow(
        auto_advance=flow.auto_advance,
        draft_period=flow.draft_period,
        due_after=flow.due_after,
        collection_interval=flow.collection_interval,
        collection_ticks=ticks.interval if ticks else None,
        collection_anchor=ticks.anchor if ticks else None,
        progressive_billing=flow.progressive_billing,
        subscription_end_proration_mode=flow.subscription_end_proration_mode,
        default_tax_config=flow.default_tax_config,
        collection_method=flow.collection_method,
        tax_enabled=flow.tax_enabled,
        tax_enforced=flow.tax_enforced,
    )
