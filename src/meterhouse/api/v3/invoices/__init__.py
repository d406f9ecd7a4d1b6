"""v3 invoices. Gathering invoices do not exist here (billing section 4.1)."""

from meterhouse.api.v3.invoices.routes import router

__all__ = ["router"]
