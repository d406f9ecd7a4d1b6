"""What a transaction says about the charge it is booked for, and how the list of transactions shows it."""

from collections.abc import Mapping

from meterhouse.ledger import postings as names

_LABELS = {
    "subscription_id": names.SUBSCRIPTION_ID,
    "subscription_phase_id": names.SUBSCRIPTION_PHASE_ID,
    "subscription_item_id": names.SUBSCRIPTION_ITEM_ID,
    "feature_id": names.FEATURE_ID,
}


def charge_annotations(
    namespace: str, charge_id: str, labels: Mapping[str, str], name: str | None = None
) -> dict[str, str]:
    """Return what a transaction says about the charge it is booked for; unknown labels are left out."""
    known = {_LABELS[label]: value for label, value in labels.items() if label in _LABELS}
    named = {names.CHARGE_NAME: name} if name else {}
    return {names.CHARGE_NAMESPACE: namespace, names.CHARGE_ID: charge_id, **named, **known}


def labels_of(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that a transaction is shown with."""
    shown = {"charge_id": names.CHARGE_ID, **_LABELS}
    return {label: annotations[name] for label, name in shown.items() if name in annotations}
