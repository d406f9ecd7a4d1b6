"""When a subscription can have how many of an add-on (subscriptions section 12.1). Pure."""

from datetime import datetime

from meterhouse.catalog.addons import InstanceType
from meterhouse.catalog.planaddons import PlanAddon
from meterhouse.kernel.errors import invalid
from meterhouse.subscriptions.timeline import current_phase
from meterhouse.subscriptions.views import SubscriptionView

# More than anybody buys; an amount that many times over is still calculated exactly everywhere.
MAX_QUANTITY = 1_000_000_000


def check_quantity(link: PlanAddon, quantity: int, *, first: bool) -> None:
    """Check how many there can be; `first` where the subscription does not have the add-on yet.

    Raises:
        InvalidInput: there cannot be that many.
    """
    most = MAX_QUANTITY
    if link.addon.instance_type is InstanceType.SINGLE:
        most = 1
    elif link.max_quantity is not None:
        most = min(link.max_quantity, MAX_QUANTITY)
    if not int(first) <= quantity <= most:
        message = f"the quantity of add-on {link.addon.key} must be from {int(first)} to {most}"
        raise invalid(message, field="$.quantity")


def check_phase(view: SubscriptionView, link: PlanAddon, at: datetime) -> None:
    """Check that the subscription has come to a phase in which the add-on is offered.

    Raises:
        InvalidInput: it has not.
    """
    phase = current_phase(view, at)
    keys = [one.key for one in view.phases]
    offered = keys[keys.index(link.from_plan_phase) :] if link.from_plan_phase in keys else []
    if phase is None or phase.key not in offered:
        message = f"add-on {link.addon.key} is offered from phase {link.from_plan_phase} on"
        raise invalid(message, field="$.timing")
