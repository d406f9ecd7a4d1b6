"""v1 and v2 entitlements, their grants, and access."""

from fastapi import APIRouter

from meterhouse.api.v1.entitlements import customers, lists, subjects

router = APIRouter()
router.include_router(customers.router)
router.include_router(lists.router)
router.include_router(subjects.router)
