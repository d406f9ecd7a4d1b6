"""Use cases of subscriptions: one module a command. Every command locks the customer's subscriptions first."""

from meterhouse.subscriptions.repository import SubscriptionFilter
from meterhouse.subscriptions.service.cancel import cancel, unschedule_cancelation
from meterhouse.subscriptions.service.change import Changed, Migration, PlanChange, change, migrate, migration_target
from meterhouse.subscriptions.service.create import CustomPlan, NewSubscription, PlanChoice, create
from meterhouse.subscriptions.service.delete import delete
from meterhouse.subscriptions.service.edit import edit
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
from meterhouse.subscriptions.service.restore import Restored, restore

__all__ = [
    "Changed",
    "CustomPlan",
    "Migration",
    "NewSubscription",
    "PlanChange",
    "PlanChoice",
    "Restored",
    "SubscriptionFilter",
    "active_between",
    "cancel",
    "change",
    "create",
    "customers_on_plan",
    "delete",
    "edit",
    "feature_use",
    "list_for_customer",
    "list_subscriptions",
    "load",
    "load_many",
    "migrate",
    "migration_target",
    "restore",
    "running_of",
    "unschedule_cancelation",
]
