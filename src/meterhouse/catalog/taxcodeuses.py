"""What is sold with a tax code, which keeps the code from being deleted (catalog-extras section 1.4)."""

from meterhouse.catalog.repository import taxcodeuses as repository
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession


async def tax_code_use(session: ReadSession, namespace: str, tax_code_id: str) -> str | None:
    """Tell which plan or add-on that is a draft or not over uses the tax code (`taxcodes.TaxCodeUse`)."""
    now = clock.now()
    for kind, find in (("plan", repository.plan_with), ("add-on", repository.addon_with)):
        found = await find(session, namespace, tax_code_id, now)
        if found is not None:
            key, version = found
            return f"{kind} {key} uses it in version {version}"
    return None
