"""What a profile must keep, whatever it is made from (billing section 2.2)."""

from decimal import Decimal

from meterhouse.billing.profiles.values import AppChoice, ProfileInput, Workflow
from meterhouse.kernel.errors import InvalidInput, Issue
from meterhouse.kernel.periods import Duration

MAX_SECONDS = Decimal(100 * 366 * 86_400)  # a longer wait means "never", and dates must stay within the calendar

_TICKS = "$.workflow.collection.alignment.recurring_period.interval"


def check(given: ProfileInput) -> None:
    """Refuse a profile that breaks a rule.

    Raises:
        InvalidInput: with an issue for each broken rule.
    """
    supplier = given.supplier
    found = _workflow(given.workflow)
    if not given.name:
        found.append(Issue("", "name must not be empty", "$.name"))
    if not supplier.name:
        found.append(Issue("", "the supplier must have a name", "$.supplier.name"))
    if not supplier.address.country:
        field = "$.supplier.addresses.billing_address.country"
        found.append(Issue("", "the supplier's address must have a country", field))
    _refuse(found)


def check_apps(apps: AppChoice) -> str:
    """Return the one app of a profile.

    Raises:
        InvalidInput: the three are not the same.
    """
    if len({apps.tax, apps.invoicing, apps.payment}) > 1:
        _refuse([Issue("", "all apps must be the same", "$.apps")])
    return apps.invoicing


def _refuse(found: list[Issue]) -> None:
    if found:
        raise InvalidInput("\n".join(issue.message for issue in found), issues=found)


def _workflow(flow: Workflow) -> list[Issue]:
    durations = {
        "$.workflow.collection.interval": flow.collection_interval,
        "$.workflow.invoicing.draft_period": flow.draft_period,
        "$.workflow.payment.due_after": flow.due_after,
    }
    if flow.collection_ticks is not None:
        durations[_TICKS] = flow.collection_ticks.interval
    found = [Issue("", reason, field) for field, given in durations.items() if (reason := _unfit(given))]
    if flow.collection_ticks is not None and flow.collection_ticks.interval.approximate_seconds() < 1:
        found.append(Issue("", "the ticks of a collection must be a second apart at least", _TICKS))
    if flow.tax_enforced and not flow.tax_enabled:
        found.append(Issue("", "tax can only be enforced where it is enabled", "$.workflow.tax.enforced"))
    return found


def _unfit(duration: Duration) -> str | None:
    if not duration.is_zero() and not duration.is_positive():
        return f"{duration} must not be negative"
    return "the duration must not exceed 100 years" if duration.approximate_seconds() > MAX_SECONDS else None
