"""What requests about entitlements must keep (entitlements sections 3 and 6). Pure, but for the present instant.

Fields are named as in v1 and v2, the only APIs that create entitlements.
"""

from datetime import datetime

from meterhouse.catalog.cardrules import config_fault
from meterhouse.entitlements.entitlement import EntitlementType, NewEntitlement, NewGrant, NewRecurrence
from meterhouse.entitlements.minutes import floored
from meterhouse.kernel.errors import InvalidInput, Issue, invalid
from meterhouse.kernel.periods import Duration, Recurrence
from meterhouse.kernel.reach import within_reach

HOUR = Duration(hours=1)
MINUTE = Duration(minutes=1)
# Like instants, which stay within a hundred years: arithmetic must not leave the calendar.
LONGEST = Duration(years=100)
MAX_PRIORITY = 255


def check_new(new: NewEntitlement) -> None:
    """Check what can be said without looking anything up.

    Raises:
        InvalidInput: one issue for each rule that is broken.
    """
    issues = []
    if new.feature_id is None and new.feature_key is None:
        issues.append(Issue("feature_required", "a feature is named by id or by key", "$.featureKey"))
    issues += _members_of_others(new)
    if new.type is EntitlementType.METERED and new.usage_period is None:
        issues.append(Issue("usage_period_required", "a metered entitlement needs a usage period", "$.usagePeriod"))
    if new.type is EntitlementType.STATIC:
        issues += _config_issues(new.config)
    if new.issue_priority is not None and new.issue_after_reset is None:
        message = "a priority of the amount that is issued after a reset needs the amount"
        issues.append(Issue("issue_after_reset_required", message, "$.issueAfterReset"))
    if new.issue_after_reset is not None and new.issue_after_reset < 0:
        issues.append(Issue("issue_after_reset_negative", "must not be negative", "$.issueAfterReset"))
    if new.issue_after_reset is not None and new.grants:
        message = "grants cannot be given together with an amount that is issued after each reset"
        issues.append(Issue("grants_with_issue_after_reset", message, "$.grants"))
    if issues:
        raise InvalidInput("\n".join(issue.message for issue in issues), issues=issues)


def _members_of_others(new: NewEntitlement) -> list[Issue]:
    """Return an issue for each member that the type does not have."""
    metered: dict[str, object] = {
        "$.measureUsageFrom": new.measure_usage_from,
        "$.isSoftLimit": new.is_soft_limit,
        "$.preserveOverageAtReset": new.preserve_overage,
        "$.issueAfterReset": new.issue_after_reset,
        "$.issueAfterResetPriority": new.issue_priority,
        "$.grants": new.grants or None,
    }
    others = {} if new.type is EntitlementType.METERED else metered
    if new.type is not EntitlementType.STATIC:
        others = {**others, "$.config": new.config}
    return [
        Issue("member_of_another_type", f"a {new.type} entitlement has no {field[2:]}", field)
        for field, value in others.items()
        if value is not None
    ]


def _config_issues(config: str | None) -> list[Issue]:
    if config is None:
        return [Issue("config_required", "a static entitlement needs a config", "$.config")]
    fault = config_fault(config)
    return [Issue("invalid_json_config", fault, "$.config")] if fault else []


def recurrence(new: NewRecurrence, default_anchor: datetime, field: str, *, shortest: Duration) -> Recurrence:
    """Return a recurrence with its anchor cut down to the minute; `field` is where the request names it.

    Raises:
        InvalidInput: the interval is not positive, too short or too long, or no whole minutes.
    """
    interval = new.interval
    parts = (interval.years, interval.months, interval.weeks, interval.days, interval.hours, interval.minutes)
    elapsed = interval.approximate_seconds()
    if min(parts) < 0 or interval.seconds < 0 or elapsed < shortest.approximate_seconds():
        raise invalid(f"interval must be at least {shortest}: {interval}", field=f"{field}.interval")
    if elapsed > LONGEST.approximate_seconds():
        raise invalid(f"interval must be at most {LONGEST}: {interval}", field=f"{field}.interval")
    if interval.seconds % 60:
        raise invalid(f"interval must be whole minutes: {interval}", field=f"{field}.interval")
    anchor = default_anchor if new.anchor is None else within_reach(new.anchor, f"{field}.anchor")
    return Recurrence(interval, floored(anchor))


def check_grant(new: NewGrant, field: str = "$") -> None:
    """Check a grant by itself; `field` is where the request has it.

    Raises:
        InvalidInput: a number is out of its range.
    """
    if new.amount <= 0:
        raise invalid("grant amount must be positive", code="grant_amount_must_be_positive", field=f"{field}.amount")
    if not 0 <= new.priority <= MAX_PRIORITY:
        raise invalid(f"grant priority must be between 0 and {MAX_PRIORITY}", field=f"{field}.priority")
    for name, value in (("minRolloverAmount", new.rollover_min), ("maxRolloverAmount", new.rollover_max)):
        if value is not None and value < 0:
            raise invalid("rollover amounts must not be negative", field=f"{field}.{name}")
    within_reach(new.effective_at, f"{field}.effectiveAt")
