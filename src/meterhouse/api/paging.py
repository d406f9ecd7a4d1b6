"""Paging on the wire (api-conventions sections 7 and 9)."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query, Request

from meterhouse.api.problems import InvalidParameterError
from meterhouse.api.wire import V1Model, V3Model
from meterhouse.kernel.pages import Page, PageRequest

T = TypeVar("T")

_WHOLE = re.compile("[+-]?[0-9]{1,40}")  # Python alone would read `1_0` and digits of other scripts too

MAX_PAGE_SIZE = 1000  # what one answer may hold: keeps a list request bounded in memory and time
MAX_OFFSET = 2**63 - 1  # what Postgres takes


class V1Page(V1Model, Generic[T]):
    """A page of a v1 list."""

    page: int
    page_size: int
    total_count: int
    items: Sequence[T]

    @classmethod
    def of(cls, page: Page[Any], items: Sequence[T]) -> "V1Page[T]":
        """Show `items` as the given page."""
        return cls(page=page.request.number, page_size=page.request.size, total_count=page.total_count, items=items)


def v1_page(
    page: Annotated[int, Query(ge=1, description="Page to return, counted from 1.")] = 1,
    page_size: Annotated[
        int, Query(alias="pageSize", ge=1, le=MAX_PAGE_SIZE, description="How many items a page holds.")
    ] = 100,
) -> PageRequest:
    """Read `page` and `pageSize`."""
    return PageRequest(page, page_size)


class V3PageMeta(V3Model):
    """Where a page stands in the whole list."""

    number: int
    size: int
    total: int


class V3Meta(V3Model):
    """Facts about a v3 list answer."""

    page: V3PageMeta


class V3Page(V3Model, Generic[T]):
    """A page of a v3 list."""

    data: Sequence[T]
    meta: V3Meta

    @classmethod
    def of(cls, page: Page[Any], items: Sequence[T]) -> "V3Page[T]":
        """Show `items` as the given page."""
        meta = V3PageMeta(number=page.request.number, size=page.request.size, total=page.total_count)
        return cls(data=items, meta=V3Meta(page=meta))


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(f"page[{name}]")
    if text is None:
        return default
    if not _WHOLE.fullmatch(text):
        raise _page_error(f"page[{name}]", "must be a whole number")
    return int(text)


def _page_error(field: str, reason: str) -> InvalidParameterError:
    return InvalidParameterError(field, reason)


def v3_paging(default_size: int) -> Callable[..., PageRequest]:
    """Return what reads `page[number]` and `page[size]` for a list whose pages hold so many items unless asked."""
    described = f"How many items a page holds; {default_size} when absent."

    def v3_page(
        request: Request,
        _size: Annotated[int | None, Query(alias="page[size]", description=described, json_schema_extra={})] = None,
        _number: Annotated[
            int | None, Query(alias="page[number]", description="Page to return, counted from 1.")
        ] = None,
    ) -> PageRequest:
        for name in request.query_params:
            if name.startswith("page[") and name not in ("page[size]", "page[number]"):
                raise _page_error(name, "unknown member of page")
        number, size = _whole(request, "number", 1), _whole(request, "size", default_size)
        if number < 1:
            raise _page_error("page", "page has to be at least 1")
        if size < 0 or size > MAX_PAGE_SIZE:
            raise _page_error("page", f"page size must be between 0 and {MAX_PAGE_SIZE}")
        return PageRequest(number, size)

    return v3_page


V1Paging = Annotated[PageRequest, Depends(v1_page)]
V3Paging = Annotated[PageRequest, Depends(v3_paging(20))]
