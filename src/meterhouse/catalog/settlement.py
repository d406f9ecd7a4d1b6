"""Which settlement modes a deployment can serve (ledger section 9)."""

from meterhouse.catalog.prices import SettlementMode
from meterhouse.kernel.errors import InvalidInput


def require_credits(mode: SettlementMode | None, *, enabled: bool) -> None:
    """Refuse a mode that needs credits where credits are switched off; clients match on the words of the message.

    Raises:
        InvalidInput: `mode` is `credit_only` and `enabled` is false.
    """
    if mode is SettlementMode.CREDIT_ONLY and not enabled:
        raise InvalidInput(
            "credit_only: credits are not enabled on this deployment of OpenMeter; the setting `credits_enabled` is off"
        )
