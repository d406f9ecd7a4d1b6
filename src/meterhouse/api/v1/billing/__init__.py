"""v1 billing: invoices and what leads to them."""

from fastapi import APIRouter

from meterhouse.api.v1.billing import customer_overrides, invoices, profiles

router = APIRouter(tags=["Billing"])
router.include_router(invoices.router)
router.include_router(profiles.router)
router.include_router(customer_overrides.router)
