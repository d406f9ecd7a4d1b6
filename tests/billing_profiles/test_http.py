"""Reading billing profiles over v1 (billing section 2.3)."""

import httpx
import pytest
from sqlalchemy import func, update

from meterhouse.billing.profiles.models import ProfileRow
from meterhouse.kernel.db import Database
from tests.billing_profiles.conftest import UNKNOWN
from tests.billing_profiles.conftest import V1 as PATH


async def test_a_fresh_namespace_lists_its_default_profile(http: httpx.AsyncClient) -> None:
    listed = (await http.get(PATH)).json()
    assert {name: listed[name] for name in ("page", "pageSize", "totalCount")} == {
        "page": 1,
        "pageSize": 100,
        "totalCount": 1,
    }
    (profile,) = listed["items"]
    app = {"id": profile["apps"]["invoicing"]["id"]}
    assert profile["apps"] == {"tax": app, "invoicing": app, "payment": app}
    assert (profile["name"], profile["default"]) == ("openmeter-sandbox", True)
    assert profile["supplier"] == {"id": profile["id"], "name": "OpenMeter", "addresses": [{"country": "US"}]}
    assert profile["workflow"] == {
        "collection": {"alignment": {"type": "subscription"}, "interval": "PT1H"},
        "invoicing": {
            "autoAdvance": True,
            "draftPeriod": "P0D",
            "dueAfter": "P30D",
            "progressiveBilling": True,
            "subscriptionEndProrationMode": "bill_actual_period",
        },
        "payment": {"collectionMethod": "charge_automatically"},
        "tax": {"enabled": True, "enforced": False},
    }
    assert not {"deletedAt", "description", "metadata"} & profile.keys()
    assert (await http.get(f"{PATH}/{profile['id']}")).json() == profile
    whole = (await http.get(f"{PATH}/{profile['id']}", params={"expand": "apps"})).json()
    sandbox = whole["apps"]["payment"]
    assert (sandbox["id"], sandbox["type"], sandbox["status"]) == (app["id"], "sandbox", "ready")
    assert sandbox["listing"]["installMethods"] == ["no_credentials_required"]
    assert [one["key"] for one in sandbox["listing"]["capabilities"]] == [
        "sandbox_calculate_tax",
        "sandbox_invoice_customer",
        "sandbox_collect_payment",
    ]


async def test_deleted_profiles(http: httpx.AsyncClient, db: Database) -> None:
    (first,) = (await http.get(PATH)).json()["items"]
    async with db.write() as session:
        await session.execute(update(ProfileRow).values(deleted_at=func.now()))
    (second,) = (await http.get(PATH)).json()["items"]
    assert second["id"] != first["id"]
    everything = (await http.get(PATH, params={"includeArchived": "true", "order": "ASC"})).json()
    assert [item["id"] for item in everything["items"]] == [first["id"], second["id"]]
    assert "deletedAt" in (await http.get(f"{PATH}/{first['id']}")).json()


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        (f"{PATH}/{UNKNOWN}", {}, 404),
        (f"{PATH}/no-ulid", {}, 400),
        (PATH, {"orderBy": "size"}, 400),
        (PATH, {"page": "0"}, 400),
        (PATH, {"orderBy": "name", "pageSize": "5"}, 200),
    ],
)
async def test_answers(http: httpx.AsyncClient, path: str, params: dict[str, str], status: int) -> None:
    answer = await http.get(path, params=params)
    assert answer.status_code == status
    if status == 404:
        assert answer.json()["extensions"]["code"] == "profile_not_found"
