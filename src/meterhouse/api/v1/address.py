"""The v1 schema of a postal address."""

from dataclasses import asdict
from typing import Annotated

from pydantic import Field, StringConstraints

from meterhouse.api.wire import Opt, V1Model
from meterhouse.customers import customer

CountryCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]


class Address(V1Model):
    """A postal address."""

    country: Opt[CountryCode] = Field(None, description="Country code of ISO 3166-1, two letters.")
    postal_code: Opt[str] = None
    state: Opt[str] = Field(None, description="State, province or region.")
    city: Opt[str] = None
    line1: Opt[str] = Field(None, description="First line, such as street and number.")
    line2: Opt[str] = Field(None, description="Second line.")
    phone_number: Opt[str] = None

    @classmethod
    def of(cls, address: customer.Address) -> "Address":
        """Show an address."""
        return cls(**asdict(address))

    def to_value(self) -> customer.Address:
        """Read the address."""
        return customer.Address(**self.model_dump())

    def given(self) -> dict[str, str | None]:
        """Return the parts that the request named, null ones included."""
        return {part: getattr(self, part) for part in self.model_fields_set}
