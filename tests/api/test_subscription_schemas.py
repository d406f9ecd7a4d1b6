"""What subscriptions are shown as, in both APIs."""

from dataclasses import replace
from datetime import timedelta

import pytest

from meterhouse.api.v1.subscription_schemas import Included, SubscriptionExpanded
from meterhouse.api.v3.subscription_schemas import BillingSubscription
from meterhouse.kernel.ids import new_id
from tests.fixtures.ticking import ticking
from tests.subscriptions.conftest import at
from tests.subscriptions.test_timeline import version, view


@pytest.mark.parametrize("before", range(6))
def test_an_answer_is_of_one_instant(before: int) -> None:
    """A clock that passes an end between two members must not let them contradict each other."""
    end = "2025-04-21T08"
    items = {"only": (replace(version(0, "2025-03-10T08", end), id=new_id()),)}
    sub = replace(view(end=end, items=items), id=new_id(), customer_id=new_id())
    sub = replace(sub, phases=tuple(replace(phase, id=new_id()) for phase in sub.phases))
    begin = at(end) - timedelta(microseconds=before)
    with ticking(begin):
        v1 = SubscriptionExpanded.of(sub, Included({}, {}))
    with ticking(begin):
        v3 = BillingSubscription.of(sub)
    assert v1.alignment is not None
    assert (v1.alignment.current_aligned_billing_period is not None) == (v1.status == "canceled")
    assert (v3.current_period is not None) == (v3.status == "canceled")
