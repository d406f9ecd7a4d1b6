"""Versions of plans and add-ons in any order of steps, and steps that meet (catalog sections 1.3, 1.5, 3.2 and 4.1).

A model keeps for each version when it became active, when it ended and whether it is deleted; the service must agree
with it after every step, refuse what the model refuses, and never have two active versions of a key.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meterhouse.catalog import addons, planaddons, plans
from meterhouse.catalog.addons import AddonContent, AddonQuery, InstanceType
from meterhouse.catalog.plans import PlanContent, PlanQuery
from meterhouse.kernel.clock import FrozenClock, frozen
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import InvalidInput, NotFound
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.pages import PageRequest
from tests.catalog.builders import flat_card, new_addon, new_plan, phase
from tests.catalog.conftest import NS

KEY = "ws_pro"
START = datetime(2031, 5, 10, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Kind:
    """The use cases of plans or of add-ons."""

    create: Callable[..., Awaitable[Any]]
    update: Callable[..., Awaitable[Any]]
    publish: Callable[..., Awaitable[Any]]
    archive: Callable[..., Awaitable[Any]]
    delete: Callable[..., Awaitable[Any]]
    get: Callable[..., Awaitable[Any]]
    get_active: Callable[..., Awaitable[Any]]
    status: Callable[..., Any]
    listed: Callable[..., Awaitable[Any]]
    query: Callable[..., Any]
    new: Callable[[], Any]
    content: Any
    again: Callable[..., Awaitable[Any]] | None


PLANS = Kind(
    create=plans.create,
    update=plans.update,
    publish=partial(plans.publish, check=planaddons.publish_issues),
    archive=plans.archive,
    delete=plans.delete,
    get=plans.get,
    get_active=plans.get_active,
    status=plans.status,
    listed=plans.list_plans,
    query=PlanQuery,
    new=partial(new_plan, KEY),
    content=PlanContent("Changed", (phase(flat_card()),)),
    again=plans.next_version,
)
ADDONS = Kind(
    create=addons.create,
    update=addons.update,
    publish=addons.publish,
    archive=addons.archive,
    delete=partial(addons.delete, use=planaddons.addon_use),
    get=addons.get,
    get_active=addons.get_active,
    status=addons.status,
    listed=addons.list_addons,
    query=AddonQuery,
    new=partial(new_addon, key=KEY),
    content=AddonContent("Changed", InstanceType.MULTIPLE, (flat_card(),)),
    again=None,
)
KINDS = pytest.mark.parametrize("kind", [PLANS, ADDONS], ids=["plans", "addons"])


@dataclass
class Modelled:
    """What a version should be."""

    id: str
    start: datetime | None = None
    end: datetime | None = None
    deleted: bool = False

    def status(self, at: datetime) -> str:
        """Return its status by the model."""
        if self.start is None:
            return "draft"
        return "archived" if self.end is not None and self.end <= at else "active"


@dataclass
class History:
    """Versions of one key, as the service has them and as the model has them."""

    db: Database
    kind: Kind
    clock: FrozenClock
    namespace: str = field(default_factory=new_id)
    versions: list[Modelled] = field(default_factory=list)

    async def call(self, use: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Call a use case in its own transaction; None where it refuses."""
        try:
            async with self.db.write() as session:
                return await use(session, self.namespace, *arguments)
        except InvalidInput:
            return None

    def has_draft(self) -> bool:
        """Tell whether the model has a draft."""
        return any(one.start is None and not one.deleted for one in self.versions)

    def allowed(self, step: str, one: Modelled) -> bool:
        """Tell whether the model takes the step."""
        status = one.status(self.clock.at)
        wanted = {"update": "draft", "publish": "draft", "archive": "active"}
        return status == wanted[step] and not one.deleted

    async def do(self, step: str, index: int) -> None:
        """Take one step with a version chosen by the index."""
        now = self.clock.at
        if step == "wait":
            self.clock.at += timedelta(seconds=index)
        elif step == "create" or not self.versions:
            await self._make(self.kind.create, self.kind.new())
        elif step == "again":
            if self.kind.again is not None:
                await self._make(self.kind.again, self.versions[index % len(self.versions)].id)
        elif step == "delete":
            await self._delete(self.versions[index % len(self.versions)])
        else:
            one = self.versions[index % len(self.versions)]
            before = [other for other in self.versions if not other.deleted and other.status(now) == "active"]
            arguments = (self.kind.content,) if step == "update" else ()
            taken = await self.call(getattr(self.kind, step), one.id, *arguments)
            assert (taken is not None) == self.allowed(step, one)
            if taken is not None and step == "archive":
                one.end = now
            if taken is not None and step == "publish":
                one.start = now
                for other in before:
                    other.end = now

    async def _make(self, use: Callable[..., Awaitable[Any]], argument: Any) -> None:
        made = await self.call(use, argument)
        assert (made is None) == self.has_draft()
        if made is not None:
            assert made.version == len(self.versions) + 1
            self.versions.append(Modelled(made.id))

    async def _delete(self, one: Modelled) -> None:
        if one.deleted or one.status(self.clock.at) != "active":
            await self.call(self.kind.delete, one.id)
            one.deleted = True
            return
        async with self.db.write() as session:
            with pytest.raises(InvalidInput):
                await self.kind.delete(session, self.namespace, one.id)

    async def check(self) -> None:
        """Check that the service agrees with the model."""
        now = self.clock.at
        query = self.kind.query(include_deleted=True, page=PageRequest(1, 1000))
        async with self.db.read() as session:
            found = (await self.kind.listed(session, self.namespace, query)).items
            assert [one.version for one in found] == [*range(1, len(self.versions) + 1)]
            for read, model in zip(found, self.versions, strict=True):
                assert (read.id, read.effective_from, read.effective_to) == (model.id, model.start, model.end)
                assert (self.kind.status(read, now), read.deleted_at is not None) == (model.status(now), model.deleted)
            live = [one for one in found if one.deleted_at is None]
            for at in {now, *(one.effective_from for one in live if one.effective_from is not None)}:
                begun = [one for one in live if one.effective_from is not None and one.effective_from <= at]
                active = [one.id for one in begun if self.kind.status(one, at) == "active"]
                assert len(active) <= 1
                if active:
                    assert (await self.kind.get_active(session, self.namespace, KEY, at)).id == active[0]
                else:
                    with pytest.raises(NotFound):
                        await self.kind.get_active(session, self.namespace, KEY, at)


_steps = st.tuples(
    st.sampled_from(["create", "create", "update", "publish", "publish", "archive", "delete", "again", "wait"]),
    st.integers(0, 5),
)


@KINDS
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_steps, min_size=4, max_size=14))
async def test_any_order_of_steps(kind: Kind, steps: list[tuple[str, int]], db: Database) -> None:
    with frozen(START) as clock:
        history = History(db, kind, clock)
        for step, index in steps:
            await history.do(step, index)
            await history.check()


@KINDS
async def test_a_draft_is_published_once(kind: Kind, db: Database) -> None:
    async def attempt(use: Callable[..., Awaitable[Any]], argument: Any) -> Any:
        async with db.write() as session:
            return await use(session, NS, argument)

    first = await attempt(kind.create, kind.new())
    await attempt(kind.publish, first.id)
    drafts = await asyncio.gather(*(attempt(kind.create, kind.new()) for _ in range(4)), return_exceptions=True)
    (second,) = [one for one in drafts if not isinstance(one, BaseException)]
    outcomes = await asyncio.gather(*(attempt(kind.publish, second.id) for _ in range(4)), return_exceptions=True)
    (published,) = [one for one in outcomes if not isinstance(one, BaseException)]
    refused = [one for one in (*drafts, *outcomes) if isinstance(one, BaseException)]
    assert len(refused) == 6
    assert all(isinstance(one, InvalidInput) for one in refused)
    async with db.read() as session:
        assert (await kind.get(session, NS, first.id)).effective_to == published.effective_from
        assert (await kind.get_active(session, NS, KEY)).id == second.id
