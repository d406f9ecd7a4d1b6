"""Query and path parameters of any route (api-conventions sections 4, 6, 7 and 9)."""

import httpx

V1 = "/api/v1/customers"
V3 = "/api/v3/openmeter/customers"
CREDITS = "/api/v3/openmeter/customers/01JNX8T0000000000000000001/credits"


async def test_what_is_wrong_with_a_parameter_is_400_and_names_it(client: httpx.AsyncClient) -> None:
    """Given twice though it takes one value, text that cannot be stored, or no whole number."""
    for query, field in {
        f"{V1}?page=1&page=2": "$.page",
        f"{V1}?order=ASC&order=DESC": "$.order",
        f"{V1}?key=a&key=b": "$.key",
        f"{V1}?includeDeleted=true&includeDeleted=true": "$.includeDeleted",
        f"{V1}?key=%00": "$.key",
        f"{V1}?key=a%00b": "$.key",
        f"{V1}/%00": "$.customerIdOrKey",
        f"{V1}?page=1.5": "$.page",
        f"{V3}?page[size]=1&page[size]=2": "$.page[size]",
        f"{V3}?page[number]=1_0": "$.page[number]",
        f"{V3}?page[number]=%201": "$.page[number]",
        f"{V3}?page[number]=%D9%A3": "$.page[number]",
        f"{V3}?filter[name]=%00": "$.filter[name]",
        f"{CREDITS}/balance?timestamp=2025-01-01T00:00:00Z&timestamp=2025-01-02T00:00:00Z": "$.timestamp",
        f"{CREDITS}/transactions?page[size]=1&page[size]=2": "$.page[size]",
        f"/api/v1/features?offset={2**63}": "$.offset",
        "/api/v1/features?meterSlug=%00": "$.meterSlug",
        "/api/v1/plans?keyVersion[pro]=x": "$.keyVersion[pro]",
        f"{V3}?sort=nope": "$.sort",
        f"{V3}?filter[nope]=x": "$.filter",
    }.items():
        answer = await client.get(query)
        assert answer.status_code == 400, query
        assert [one["field"] for one in answer.json()["extensions"]["validationErrors"]] == [field], query


async def test_parameters_that_take_several_values_may_come_several_times(client: httpx.AsyncClient) -> None:
    for query in (
        f"{V1}?expand=subscriptions&expand=subscriptions",
        "/api/v1/features?meterSlug=a&meterSlug=b",
        "/api/v1/plans?status=active&status=draft&keyVersion[a]=1&keyVersion[a]=2",
        f"{V1}?unknown=1&unknown=2",
        f"/api/v1/features?offset={2**63 - 1}",
    ):
        assert (await client.get(query)).status_code == 200, query


async def test_each_api_describes_a_wrong_parameter_in_its_own_way(client: httpx.AsyncClient) -> None:
    """Whether its schema or a parser of its own refuses it."""
    for query, detail in {
        f"{V1}?page=x": 'request query has an error: at "page": ',
        "/api/v1/plans?keyVersion[pro]=x": 'request query has an error: at "keyVersion[pro]": must be',
        f"{V3}?page[number]=x": "Bad Request: page[number] [",
        f"{V3}?filter[nope]=x": "Bad Request: filter [format]: unknown filter field(s): nope",
        f"{V3}?page[number]=1_0": "Bad Request: page[number]: must be",
    }.items():
        answer = await client.get(query)
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(detail), answer.text
        if query.startswith(V3):
            (parameter,) = answer.json()["invalid_parameters"]
            assert (parameter["field"], parameter["source"]) == (detail.split()[2].rstrip(":"), "query")
