"""Rows of profiles and overrides as values, and profiles as rows."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, cast

from meterhouse.billing.profiles.models import OverrideRow, ProfileRow
from meterhouse.billing.profiles.values import (
    Alignment,
    CollectionMethod,
    Override,
    Profile,
    ProrationMode,
    Supplier,
    Workflow,
    WorkflowOverride,
)
from meterhouse.catalog.prices import TaxConfig
from meterhouse.customers.customer import Address
from meterhouse.kernel.db import JSONObject
from meterhouse.kernel.periods import Duration, Recurrence


def to_profile(row: ProfileRow) -> Profile:
    """Read a profile."""
    return Profile(
        id=row.id,
        namespace=row.namespace,
        name=row.name,
        default=row.is_default,
        app_id=row.app_id,
        supplier=Supplier(
            key=row.supplier_key,
            name=row.supplier_name,
            tax_id=row.supplier_tax_id,
            address=Address(**row.supplier_address),
        ),
        workflow=Workflow(
            collection_alignment=_alignment(row.collection_anchor, row.collection_anchor_interval),
            collection_interval=Duration.parse(row.collection_interval),
            auto_advance=row.auto_advance,
            draft_period=Duration.parse(row.draft_period),
            due_after=Duration.parse(row.due_after),
            progressive_billing=row.progressive_billing,
            subscription_end_proration_mode=cast(ProrationMode, row.subscription_end_proration_mode),
            default_tax_config=_tax_config(row.default_tax_config),
            collection_method=cast(CollectionMethod, row.collection_method),
            tax_enabled=row.tax_enabled,
            tax_enforced=row.tax_enforced,
        ),
        description=row.description,
        metadata=row.metadata_,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
    )


def to_override(row: OverrideRow) -> Override:
    """Read what ties a customer to a profile."""
    return Override(row.customer_id, row.profile_id, row.created_at, row.updated_at)


def to_workflow_override(row: OverrideRow) -> WorkflowOverride:
    """Read the workflow settings that a customer has different."""
    alignment = _alignment(row.collection_anchor, row.collection_anchor_interval)
    return WorkflowOverride(
        collection_alignment=None if row.collection_alignment is None else alignment,
        collection_interval=_duration(row.collection_interval),
        auto_advance=row.auto_advance,
        draft_period=_duration(row.draft_period),
        due_after=_duration(row.due_after),
        progressive_billing=row.progressive_billing,
        default_tax_config=_tax_config(row.default_tax_config),
        collection_method=cast(CollectionMethod | None, row.collection_method),
    )


def columns_of(profile: Profile) -> dict[str, Any]:
    """Return the columns that store a profile, its id and times aside."""
    supplier, workflow = profile.supplier, profile.workflow
    ticks, tax = workflow.collection_ticks, workflow.default_tax_config
    return {
        "namespace": profile.namespace,
        "name": profile.name,
        "description": profile.description,
        "metadata_": dict(profile.metadata),
        "is_default": profile.default,
        "app_id": profile.app_id,
        "supplier_key": supplier.key,
        "supplier_name": supplier.name,
        "supplier_tax_id": supplier.tax_id,
        "supplier_address": {part: text for part, text in asdict(supplier.address).items() if text is not None},
        "collection_alignment": "anchored" if ticks else "subscription",
        "collection_anchor": ticks.anchor if ticks else None,
        "collection_anchor_interval": str(ticks.interval) if ticks else None,
        "collection_interval": str(workflow.collection_interval),
        "auto_advance": workflow.auto_advance,
        "draft_period": str(workflow.draft_period),
        "due_after": str(workflow.due_after),
        "progressive_billing": workflow.progressive_billing,
        "subscription_end_proration_mode": workflow.subscription_end_proration_mode,
        "default_tax_config": tax.model_dump(mode="json") if tax else None,
        "collection_method": workflow.collection_method,
        "tax_enabled": workflow.tax_enabled,
        "tax_enforced": workflow.tax_enforced,
    }


def _alignment(anchor: datetime | None, interval: str | None) -> Alignment:
    if anchor is None or interval is None:
        return Alignment()
    return Alignment(Recurrence(Duration.parse(interval), anchor))


def _duration(text: str | None) -> Duration | None:
    return None if text is None else Duration.parse(text)


def _tax_config(stored: JSONObject | None) -> TaxConfig | None:
    return None if stored is None else TaxConfig.model_validate(stored)
