"""Unit conversion: raw usage into the units that are priced (rating section 4.2)."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal

from meterhouse.catalog.prices import UnitConversion
from meterhouse.kernel.precision import exact

# A quotient is kept to 16 decimals before its own rounding mode applies.
_QUOTIENT = Decimal(1).scaleb(-16)
_MODES = {"ceiling": ROUND_CEILING, "floor": ROUND_FLOOR, "half_up": ROUND_HALF_UP}


@exact
def convert(quantity: Decimal, conversion: UnitConversion) -> Decimal:
    """Return `quantity` in priced units: multiplied or divided, then rounded (`half_up` is half away from zero)."""
    if conversion.operation == "multiply":
        converted = quantity * conversion.conversion_factor
    else:
        converted = (quantity / conversion.conversion_factor).quantize(_QUOTIENT, rounding=ROUND_HALF_UP)
    if conversion.rounding == "none":
        return converted
    return converted.quantize(Decimal(1).scaleb(-conversion.precision), rounding=_MODES[conversion.rounding])
