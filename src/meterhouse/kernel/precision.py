"""Arithmetic without loss, for functions on money and usage: far more digits than either ever has."""

from collections.abc import Callable
from decimal import Context, localcontext
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# Products of two stored decimals must stay exact, and the default of 28 digits does not hold one of a large sum and a
# fine price. Only a division can use up the digits, and 200 of them cost nothing next to a database round trip.
_WIDE = Context(prec=200)


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` with enough digits that sums and products are exact."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(_WIDE):
            return function(*args, **kwargs)

    return run
