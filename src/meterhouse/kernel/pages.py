"""Pages of a list: 1-based page numbers with a total (api-conventions sections 7 and 9)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_MAX_OFFSET = 2**63 - 1

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is asked for. `number` starts at 1."""

    number: int = 1
    size: int = 100

    @property
    def offset(self) -> int:
        """Rows to pass over; no more than the database can count, which is past the end of every list."""
        return min((self.number - 1) * self.size, _MAX_OFFSET)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page and how many rows match in all."""

    items: Sequence[T]
    total_count: int
    request: PageRequest

    def map(self, convert: Callable[[T], U]) -> "Page[U]":
        """Return the page with every item converted."""
        return Page([convert(item) for item in self.items], self.total_count, self.request)
