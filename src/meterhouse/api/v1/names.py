"""How paths of v1 and v2 name things that several tags speak of."""

from typing import Annotated

from fastapi import Path

CustomerIdOrKey = Annotated[
    str, Path(alias="customerIdOrKey", min_length=1, max_length=256, description="The id or the key of a customer.")
]
