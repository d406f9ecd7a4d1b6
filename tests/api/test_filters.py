"""The grammar of v3 filters and sorting (api-conventions sections 10, 12 and 22)."""

from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import Column, MetaData, String, Table, select
from starlette.requests import Request

from meterhouse.api.app import create_v3
from meterhouse.api.filters import FieldKind, label_conditions, list_parameters, parse_filters, parse_sort
from meterhouse.api.paging import V3Paging
from meterhouse.api.problems import InvalidParameterError
from meterhouse.kernel.conditions import Check, Condition, Operator, Sort, order_by
from meterhouse.kernel.db import Database

FIELDS = {
    "name": FieldKind.STRING,
    "status": FieldKind.EXACT,
    "id": FieldKind.ULID,
    "amount": FieldKind.NUMERIC,
    "created_at": FieldKind.INSTANT,
    "active": FieldKind.BOOLEAN,
    "labels": FieldKind.LABEL,
    "kind": FieldKind.PLAIN,
}


def request(query: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "headers": []})


def parsed(query: str) -> dict[str, Condition]:
    return parse_filters(request(query), FIELDS)


def refusal(query: str) -> str:
    with pytest.raises(InvalidParameterError) as caught:
        parsed(query)
    assert caught.value.parameter["field"] == "filter"
    assert caught.value.parameter["rule"] == "format"
    return caught.value.parameter["reason"]


def one(operator: Operator, operand: object) -> Condition:
    return Condition((Check(operator, operand),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "field", "expected"),
    [
        ("filter[name]=acme", "name", one(Operator.EQ, "acme")),
        ("filter[name]=", "name", one(Operator.EXISTS, True)),
        ("filter[name][oeq]=a,%20b,,c", "name", one(Operator.OEQ, ("a", "b", "c"))),
        (
            "filter[name][gte]=m&filter[name][lt]=n",
            "name",
            Condition((Check(Operator.GTE, "m"), Check(Operator.LT, "n"))),
        ),
        ("filter[name][contains]=50%25_off", "name", one(Operator.CONTAINS, "50%_off")),
        ("filter[name][nexists]=false", "name", one(Operator.EXISTS, True)),
        ("filter[name][nexists]", "name", one(Operator.EXISTS, False)),
        ("filter[name][exists]", "name", one(Operator.EXISTS, True)),
        ("filter[name][exists]=F", "name", one(Operator.EXISTS, False)),
        ("filter[labels.a.b.c][eq]=x", "labels.a.b.c", one(Operator.EQ, "x")),
        ("filter[labels][a.b][ocontains]=x,y", "labels.a.b", one(Operator.OCONTAINS, ("x", "y"))),
        ("filter[amount][gt]=10.50", "amount", one(Operator.GT, Decimal("10.5"))),
        ("filter[amount][oeq]=1,2", "amount", one(Operator.OEQ, (Decimal(1), Decimal(2)))),
        (
            "filter[created_at][gte]=2025-01-01T02:00:00%2B02:00",
            "created_at",
            one(Operator.GTE, datetime(2025, 1, 1, tzinfo=UTC)),
        ),
        ("filter[active]=true", "active", one(Operator.EQ, True)),
        ("filter[kind]=x", "kind", one(Operator.EQ, "x")),
        ("filter[id][eq]=01JNX8T0000000000000000001", "id", one(Operator.EQ, "01JNX8T0000000000000000001")),
    ],
)
def test_accepted_filters(query: str, field: str, expected: Condition) -> None:
    assert parsed(query) == {field: expected}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("filter[name][like]=x", "filter[name][like]: unsupported operator"),
        ("filter[nmae]=x", "unknown filter field(s): nmae"),
        ("filter[z]=x&filter[a.b]=x", "unknown filter field(s): a, z"),
        ("filter[name]=a&filter[name]=b", "filter[name]: may appear only once"),
        ("filter[created_at][neq]=2025-01-01T00:00:00Z", "filter[created_at][neq]: unsupported operator"),
        ("filter[created_at][oeq]=2025-01-01T00:00:00Z", "filter[created_at][oeq]: unsupported operator"),
        ("filter[created_at]=2025-01-01", "filter[created_at]: must be an RFC 3339 instant"),
        ("filter[created_at]=1735689600", "filter[created_at]: must be an RFC 3339 instant"),
        ("filter[amount]=NaN", "filter[amount]: must be a number"),
        ("filter[amount]=", "filter[amount]: must be a number"),
        ("filter[active]=yes", "filter[active]: must be a boolean"),
        ("filter[name][eq]=", "filter[name][eq]: must not be empty"),
        ("filter[name][]=x", "filter[name][]: empty brackets"),
        ("filter[name]x=1", "filter[name]x: malformed"),
        ("filter[name][eq][x]=1", "filter[name][eq][x]: too many brackets"),
        ("filter[kind][eq]=x", "filter[kind][eq]: unsupported operator"),
        ("filter[status][eq]=x&filter[status][neq]=y", "filter[status]: only one operator is allowed"),
        ("filter[id]=01jnx8t0000000000000000001", "filter[id]: must be a ULID"),
        ("filter[name]=a%00b", "filter[name]: must not contain a NUL character"),
        ("filter[name][oeq]=" + ",".join("x" * 51), "filter[name][oeq]: at most 50 items"),
        ("filter[name]=" + "x" * 1025, "filter[name]: at most 1024 bytes"),
    ],
)
def test_refused_filters(query: str, reason: str) -> None:
    assert refusal(query) == reason


def test_values_at_the_limits_are_accepted() -> None:
    assert parsed("filter[name][oeq]=" + ",".join("x" * 50))
    assert parsed("filter[name]=" + "x" * 1024)


def test_a_filter_without_closing_bracket_is_ignored() -> None:
    assert parsed("filter[name[=x&other=1") == {}


def test_label_conditions_are_listed_by_key() -> None:
    filters = parsed("filter[labels.team]=a&filter[name]=b")
    assert label_conditions(filters) == {"team": one(Operator.EQ, "a")}


ALLOWED = ("key", "name")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sort=name", (Sort("name"),)),
        ("sort=name+desc", (Sort("name", True),)),
        ("sort=name%20asc", (Sort("name"),)),
        ("sort=name,key+desc", (Sort("name"), Sort("key", True))),
        ("", (Sort("key"),)),
    ],
)
def test_accepted_sorts(query: str, expected: tuple[Sort, ...]) -> None:
    assert parse_sort(request(query), ALLOWED, [Sort("key")]) == expected


def test_a_list_can_sort_descending_by_default() -> None:
    assert parse_sort(request("sort=time"), ["time"], [], descending=True) == (Sort("time", True),)


@pytest.mark.parametrize("value", ["name+DESC", "name,", "name+desc+x", "-name", "", "name&sort=key", "size"])
def test_refused_sorts(value: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        parse_sort(request(f"sort={value}"), ALLOWED, [])
    assert caught.value.parameter["field"] == "sort"


def test_an_unknown_sort_field_is_told_which_exist() -> None:
    with pytest.raises(InvalidParameterError, match='unsupported sort field "size", supported fields: key, name'):
        parse_sort(request("sort=size"), ALLOWED, [])


THINGS = Table("things", MetaData(), Column("id", String, primary_key=True), Column("name", String))
NAMES = {"1": "50%_off", "2": "50 off", "3": "acme", "4": None, "5": "ACME"}


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("filter[name][contains]=50%25_OFF", ["1"]),
        ("filter[name]=acme", ["3"]),
        ("filter[name][contains]=acme", ["3", "5"]),
        ("filter[name][neq]=acme", ["1", "2", "5"]),
        ("filter[name]=", ["1", "2", "3", "5"]),
        ("filter[name][nexists]", ["4"]),
        ("filter[name][ocontains]=%25,cm", ["1", "3", "5"]),
        ("filter[name][oeq]=acme,ACME", ["3", "5"]),
    ],
)
async def test_conditions_as_sql(db: Database, query: str, ids: list[str]) -> None:
    condition = parsed(query)["name"]
    async with db.write() as session:
        await session.run_sync(lambda sync: THINGS.create(sync.connection()))
        await session.execute(THINGS.insert(), [{"id": id, "name": name} for id, name in NAMES.items()])
        ordering = order_by([], {}, last=THINGS.c.id)
        rows = await session.execute(select(THINGS.c.id).where(condition.clause(THINGS.c.name)).order_by(*ordering))
        assert list(rows.scalars()) == ids


async def test_a_wrong_query_is_answered_with_its_parameter() -> None:
    app = create_v3()

    @app.get("/api/v3/openmeter/things", openapi_extra=list_parameters({"name": FieldKind.STRING}, ["name"]))
    async def things(request: Request, page: V3Paging) -> None:
        parse_filters(request, {"name": FieldKind.STRING})
        parse_sort(request, ["name"], [])

    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get(f"/api/v3/openmeter/things?sort={quote('size')}")
        page = await client.get("/api/v3/openmeter/things?page[number]=0")
    assert answer.status_code == 400
    reason = 'unsupported sort field "size", supported fields: name'
    assert answer.json()["invalid_parameters"] == [{"field": "sort", "reason": reason, "source": "query"}]
    assert answer.json()["detail"] == f"Bad Request: sort: {reason}"
    assert page.json()["invalid_parameters"][0]["field"] == "page"
    operation = app.openapi()["paths"]["/api/v3/openmeter/things"]["get"]
    assert {parameter["name"] for parameter in operation["parameters"]} == {
        "filter",
        "sort",
        "page[size]",
        "page[number]",
    }
