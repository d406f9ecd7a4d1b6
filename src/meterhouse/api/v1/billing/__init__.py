"""v1 billing: invoices and what leads to them."""

from fastapi import APIRouter

from meterhouse.api.v1.billing import invoices

router = APIRouter(tags=["Billing"])
router.include_router(invoices.router)
