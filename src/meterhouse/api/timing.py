"""When a change of a subscription takes effect, as requests say it (subscriptions section 7)."""

from typing import Annotated, Any

from pydantic import ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from meterhouse.api.wire import Instant
from meterhouse.subscriptions.timing import NamedTiming


def _with_one_reason(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:
        names = ", ".join(repr(one.value) for one in NamedTiming)
        raise ValueError(f"must be {names} or an RFC 3339 instant with an offset or Z") from None


SubscriptionTiming = Annotated[NamedTiming | Instant, WrapValidator(_with_one_reason)]
