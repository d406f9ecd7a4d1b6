"""Whatever is edited in whatever order: the timeline stays sound, history stays, and charges follow. All of it pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.states import Status
from meterhouse.billing.charges.valuation import amount_after_proration
from meterhouse.billing.charges.views import ChargeState, Invoiced
from meterhouse.billing.sync.diff import diff as charge_diff
from meterhouse.billing.sync.invoiced import beyond_invoiced
from meterhouse.billing.sync.issued_days import around_issued
from meterhouse.billing.sync.matching import matched
from meterhouse.billing.sync.targets import targets
from meterhouse.catalog.ratecards import RateCard
from meterhouse.kernel import clock
from meterhouse.kernel.errors import DomainError
from meterhouse.kernel.ids import new_id
from meterhouse.subscriptions import patches, timing
from meterhouse.subscriptions.patches import AddItem, AddPhase, Patch, RemoveItem, RemovePhase, Shift, StretchPhase
from meterhouse.subscriptions.reconcile import Changes, diff
from meterhouse.subscriptions.spec import ItemSpec, SubscriptionSpec, from_plan, of_view, sold_item
from meterhouse.subscriptions.status import Status as SubscriptionStatus
from meterhouse.subscriptions.status import status_of
from meterhouse.subscriptions.timeline import current_phase, is_active, item_interval, phase_ends, timelines
from meterhouse.subscriptions.timing import NamedTiming
from meterhouse.subscriptions.validation import schedule_issues
from meterhouse.subscriptions.views import ItemVersion, PhaseView, SubscriptionView
from tests.catalog.builders import flat_card, period, phase, plan, unit_card
from tests.subscriptions.conftest import at
from tests.subscriptions.test_timeline import view as any_view
from tests.sync.test_diff import applied

START = at("2025-01-15")
NOW, NEXT = NamedTiming.IMMEDIATE, NamedTiming.NEXT_BILLING_CYCLE
PLAN = plan(
    phase(flat_card("seats"), unit_card(), key="a", duration="P2M"),
    phase(flat_card("seats"), key="b", duration="P1M"),
    phase(flat_card("seats"), unit_card(), key="c"),
)

phase_keys = st.sampled_from(["a", "b", "c", "x", "y"])
cards = st.sampled_from([flat_card("seats"), unit_card(), flat_card("extra"), flat_card("setup", cadence=None)])
lengths = st.sampled_from(["P1D", "P2W", "P1M", "-P1D", "-P1W", "-P1M"]).map(period)
starts = st.sampled_from(["P1W", "P1M", "P2M", "P3M", "P5M", "P1Y"]).map(period)
timings = st.sampled_from([NOW, NEXT])


def as_view(old: SubscriptionView, spec: SubscriptionSpec, ids: Mapping[tuple[object, ...], str]) -> SubscriptionView:
    """Return what would be read back; `ids` by identity, as the rows have them."""
    ends = phase_ends([one.active_from for one in spec.phases], old.active_to)
    return replace(
        old,
        phases=tuple(
            PhaseView(
                ids[one.key,],
                one.key,
                one.name,
                one.description,
                one.active_from,
                end,
                tuple(
                    ItemVersion(
                        ids[one.key, key, number],
                        key,
                        number,
                        item.rate_card,
                        *item_interval(one.active_from, end, item.active_from_override, item.active_to_override),
                        item.active_from_override,
                        item.active_to_override,
                        item.annotations,
                    )
                    for key in sorted(one.items)
                    for number, item in enumerate(one.items[key])
                ),
                dict(one.metadata),
                one.sort_hint,
            )
            for one, end in zip(spec.phases, ends, strict=True)
        ),
    )


def reconciled(old: SubscriptionView, wanted: SubscriptionSpec) -> SubscriptionView:
    """Store by the changes alone: deleted rows must go and new ones come, and all of the others are as they were."""
    changes = diff(old, wanted)
    rows: dict[str, tuple[object, ...]] = {}
    for one in old.phases:
        if one.id not in changes.deleted_phases:
            rows[one.id] = (one.key,)
            kept = [item for item in one.items if item.id not in changes.deleted_items]
            rows |= {item.id: (one.key, item.key, item.version) for item in kept}
    phases = {row: identity[0] for row, identity in rows.items() if len(identity) == 1}
    for fresh in changes.new_phases:
        rows[new_id()] = (fresh.key,)
        for key, items in fresh.items.items():
            rows |= {new_id(): (fresh.key, key, number) for number in range(len(items))}
    for added in changes.new_items:
        rows[new_id()] = (phases[added.phase_id], added.item.key, added.version)
    assert len(set(rows.values())) == len(rows), "an identity has two rows"
    stored = as_view(old, wanted, {identity: row for row, identity in rows.items()})
    assert diff(stored, wanted) == Changes()
    return stored


def in_effect(view: SubscriptionView, instant: datetime) -> tuple[str | None, dict[str, RateCard]]:
    """Return the phase that runs and what each of its items costs."""
    running = current_phase(view, instant)
    if running is None:
        return None, {}
    return running.key, {item.key: item.rate_card for item in running.items if is_active(item, instant)}


class Editing(RuleBasedStateMachine):
    """One subscription, edited, canceled and continued while time passes."""

    @initialize()
    def subscribe(self) -> None:
        self.now = START
        self.seen: dict[datetime, object] = {}
        self.charges: list[ChargeIntent] = []
        self.marks: dict[str, str] = {}
        self.invoiced: dict[str | None, Invoiced] = {}
        spec = from_plan(PLAN, active_from=START, billing_anchor=START)
        bare = replace(any_view(start="2025-01-15", anchor="2025-01-15"), phases=())
        self.view = reconciled(bare, spec)

    @rule(hours=st.integers(1, 40 * 24))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    def _edit(self, patch: Patch, when: NamedTiming) -> None:
        if status_of(self.view, self.now) is not SubscriptionStatus.ACTIVE:
            return
        try:
            with clock.frozen(self.now):
                instant = timing.of_edit(self.view, when)
            wanted = patches.apply(of_view(self.view), patch, instant)
        except DomainError:
            return
        broken = {issue.code for issue in schedule_issues(wanted)}
        assert broken <= {"subscription_phase_has_no_items"}, broken
        if not broken:
            self.view = reconciled(self.view, wanted)

    @rule(key=phase_keys, card=cards, when=timings)
    def add_item(self, key: str, card: RateCard, when: NamedTiming) -> None:
        card = card.model_copy(update={"name": new_id()})
        self._edit(AddItem(key, sold_item(card, "USD")), when)

    @rule(key=phase_keys, card=cards, when=timings)
    def remove_item(self, key: str, card: RateCard, when: NamedTiming) -> None:
        self._edit(RemoveItem(key, card.key), when)

    @rule(key=phase_keys, start=starts, length=lengths, when=timings)
    def add_phase(self, key: str, start: object, length: object, when: NamedTiming) -> None:
        before = of_view(self.view)
        self._edit(AddPhase(key, key, start, length), when)  # type: ignore[arg-type]
        assert of_view(self.view) == before, "a phase without items was stored"
        if status_of(self.view, self.now) is not SubscriptionStatus.ACTIVE:
            return
        try:
            made = patches.apply(before, AddPhase(key, key, start, length), self.now)  # type: ignore[arg-type]
            made = patches.apply(made, AddItem(key, sold_item(flat_card("seats"), "USD")), self.now)
        except DomainError:
            return
        self.view = reconciled(self.view, made)

    @rule(key=phase_keys, shift=st.sampled_from(Shift), when=timings)
    def remove_phase(self, key: str, shift: Shift, when: NamedTiming) -> None:
        self._edit(RemovePhase(key, shift), when)

    @rule(key=phase_keys, by=lengths, when=timings)
    def stretch_phase(self, key: str, by: object, when: NamedTiming) -> None:
        self._edit(StretchPhase(key, by), when)  # type: ignore[arg-type]

    @rule(when=timings)
    def unschedule(self, when: NamedTiming) -> None:
        self._edit(patches.UnscheduleEdit(), when)

    @rule(card=cards, removes=st.booleans())
    def schedule_and_undo(self, card: RateCard, removes: bool) -> None:
        """What is planned for the next billing cycle can be taken back without a trace."""
        running = current_phase(self.view, self.now)
        if running is None or status_of(self.view, self.now) is not SubscriptionStatus.ACTIVE:
            return
        before = patches.apply(of_view(self.view), patches.UnscheduleEdit(), self.now)
        patch = RemoveItem(running.key, card.key) if removes else AddItem(running.key, ItemSpec(card.key, card))
        try:
            with clock.frozen(self.now):
                planned = patches.apply(before, patch, timing.of_edit(self.view, NEXT))
        except DomainError:
            return
        assert planned != before
        assert patches.apply(planned, patches.UnscheduleEdit(), self.now) == before

    @rule(when=timings)
    def cancel(self, when: NamedTiming) -> None:
        if status_of(self.view, self.now) is SubscriptionStatus.ACTIVE:
            with clock.frozen(self.now):
                end = timing.end_of(self.view, when)
            self._end(end)

    @rule()
    def go_on(self) -> None:
        if status_of(self.view, self.now) is SubscriptionStatus.CANCELED:
            self._end(None)

    def _end(self, end: datetime | None) -> None:
        before = of_view(self.view)
        ids: dict[tuple[object, ...], str] = {(one.key,): one.id for one in self.view.phases}
        ids |= {(one.key, item.key, item.version): item.id for one in self.view.phases for item in one.items}
        self.view = as_view(replace(self.view, active_to=end), before, ids)
        assert of_view(self.view) == before

    @invariant()
    def the_timeline_is_sound(self) -> None:
        assert self.view.phases[0].active_from == START
        for one, following in pairwise(self.view.phases):
            assert one.active_from < following.active_from
        for one in self.view.phases:
            for versions in timelines(one).values():
                assert [item.version for item in versions] == list(range(len(versions)))
                for item in versions:
                    assert one.active_from <= item.active_from
                    assert one.active_to is None or (item.active_to or item.active_from) <= one.active_to
                for item, later in pairwise(versions):
                    assert item.active_to is not None
                    assert item.active_from <= item.active_to <= later.active_from

    @invariant()
    def rows_are_unique(self) -> None:
        ids = [one.id for one in self.view.phases] + [item.id for one in self.view.phases for item in one.items]
        assert len(set(ids)) == len(ids)

    @invariant()
    def history_stays(self) -> None:
        for instant, seen in self.seen.items():
            assert instant >= self.now or in_effect(self.view, instant) == seen
        self.seen[self.now] = in_effect(self.view, self.now)

    @invariant()
    def charges_follow(self) -> None:
        """Sync with what is due invoiced; a second sync finds nothing to do, and no usage is billed twice."""
        for intent in self.charges:
            if intent.invoice_at < self.now:
                self._invoice(intent)
        plain = targets(self.view, self.now).intents
        assert len({intent.unique_reference_id for intent in plain}) == len(plain)
        wanted = self._wanted(plain)
        self.charges = applied(charge_diff(wanted, self._states(), self.marks), self.charges)
        self.marks = {intent.unique_reference_id or "": intent.content_digest() for intent in wanted}
        there = {intent.unique_reference_id for intent in self.charges}
        self.invoiced = {reference: period for reference, period in self.invoiced.items() if reference in there}
        assert charge_diff(self._wanted(plain), self._states(), self.marks) == []
        billed: dict[tuple[str, str], list[ChargeIntent]] = {}
        for intent in self.charges:
            _, phase_key, item_key, *_ = (intent.unique_reference_id or "").split("/")
            billed.setdefault((phase_key, item_key), []).append(intent)
        for intents in billed.values():
            intents.sort(key=lambda intent: intent.service_period)
            for one, other in pairwise(intents):
                assert one.is_flat or one.service_period.end <= other.service_period.start

    def _invoice(self, intent: ChargeIntent) -> None:
        """Bill a fee once, and of usage what was added to it since."""
        reference, period = intent.unique_reference_id, intent.service_period
        before = self.invoiced.get(reference)
        if before is None or (not intent.is_flat and before.period.end < period.end):
            self.invoiced[reference] = Invoiced(period, amount_after_proration(intent) or Decimal(0))

    def _wanted(self, plain: Sequence[ChargeIntent]) -> tuple[ChargeIntent, ...]:
        states = self._states()
        return beyond_invoiced(matched(around_issued(plain, states), states), states)

    def _states(self) -> list[ChargeState]:
        return [
            ChargeState(
                id=f"charge of {intent.unique_reference_id}",
                unique_reference_id=intent.unique_reference_id,
                intent=intent,
                status=Status.CREATED,
                has_runs=intent.unique_reference_id in self.invoiced,
                subscription_item_id=None,
                invoiced=self.invoiced.get(intent.unique_reference_id),
            )
            for intent in self.charges
        ]


TestEditing = Editing.TestCase
TestEditing.settings = settings(
    max_examples=150, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
