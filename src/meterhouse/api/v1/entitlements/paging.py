"""The two ways in which lists of entitlements and grants are cut: pages, or limit and offset (section 14)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Query

from meterhouse.api.paging import MAX_OFFSET, MAX_PAGE_SIZE, V1Page
from meterhouse.entitlements.service import Stretch
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.pages import Page, PageRequest

T = TypeVar("T")

DEFAULT_SIZE = 100
Order = Annotated[Literal["ASC", "DESC"], Query()]
EntitlementOrderBy = Annotated[Literal["createdAt", "updatedAt"], Query(alias="orderBy")]
GrantOrderBy = Annotated[
    Literal["id", "createdAt", "updatedAt", "expiresAt", "effectiveAt", "owner"] | None, Query(alias="orderBy")
]
_COLUMNS = {
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "expiresAt": "expires_at",
    "effectiveAt": "effective_at",
}


def sorts(order_by: str, order: str) -> list[Sort]:
    """Read the order of a list."""
    return [Sort(_COLUMNS.get(order_by, order_by), order == "DESC")]


@dataclass(frozen=True, slots=True)
class Cut:
    """What a request says about the part of the list it wants; None where it says nothing."""

    page: int | None
    page_size: int | None
    offset: int | None
    limit: int | None

    @property
    def is_paged(self) -> bool:
        """Tell whether a page is asked for. That wins over limit and offset."""
        return self.page is not None or self.page_size is not None

    @property
    def is_offset(self) -> bool:
        """Tell whether limit or offset are given, and no page."""
        return not self.is_paged and (self.offset is not None or self.limit is not None)

    def request(self) -> PageRequest:
        """Return the page, the first where none is named."""
        return PageRequest(self.page or 1, self.page_size or DEFAULT_SIZE)

    def stretch(self, *, paged: bool) -> Stretch:
        """Return which rows to show, by page or by limit and offset."""
        if paged:
            return Stretch(self.request().offset, self.request().size)
        return Stretch(self.offset or 0, DEFAULT_SIZE if self.limit is None else self.limit)

    def shown(self, items: Sequence[T], total: int, *, paged: bool) -> V1Page[T]:
        """Return the page; by limit and offset it has no number and size."""
        request = self.request() if paged else PageRequest(0, 0)
        return V1Page[Any].of(Page(items, total, request), items)


def _cut(
    page: Annotated[int | None, Query(ge=1, description="Page to return, counted from 1.")] = None,
    page_size: Annotated[
        int | None, Query(alias="pageSize", ge=1, le=MAX_PAGE_SIZE, description="How many items a page holds.")
    ] = None,
    offset: Annotated[
        int | None, Query(ge=0, le=MAX_OFFSET, description="How many to pass over; not used with pages.")
    ] = None,
    limit: Annotated[
        int | None, Query(ge=1, le=MAX_PAGE_SIZE, description="How many to return; not used with pages.")
    ] = None,
) -> Cut:
    return Cut(page, page_size, offset, limit)


ListCut = Annotated[Cut, Depends(_cut)]
