"""Use cases of subscriptions: one module a command. Every command locks the customer's subscriptions first."""

from meterhouse.subscriptions.repository import SubscriptionFilter
from meterhouse.subscriptions.service.cancel import cancel, unschedule_cancelation
from meterhouse.subscriptions.service.create import CustomPlan, NewSubscription, PlanChoice, create
from meterhouse.subscriptions.service.delete import delete
from meterhouse.subscriptions.service.read import (
    active_between,
    customers_on_plan,
    feature_use,
    list_for_customer,
    list_subscriptions,
    load,
    load_many,
    running_of,
)

__all__ = [
    "CustomPlan",
    "NewSubscription",
    "PlanChoice",
    "SubscriptionFilter",
    "active_between",
    "cancel",
    "create",
    "customers_on_plan",
    "delete",
    "feature_use",
    "list_for_customer",
    "list_subscriptions",
    "load",
    "load_many",
    "running_of",
    "unschedule_cancelation",
]
