"""v3 customer credit."""

from meterhouse.api.v3.credits.routes import router

__all__ = ["router"]
