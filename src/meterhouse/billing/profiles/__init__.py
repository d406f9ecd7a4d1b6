"""Billing profiles: who bills, through which app, and how invoices are collected (billing sections 2 and 3)."""

from meterhouse.billing.profiles.overrides import Overrides
from meterhouse.billing.profiles.repository import OverrideFilter
from meterhouse.billing.profiles.service import Profiles
from meterhouse.billing.profiles.values import (
    AppChoice,
    CustomerProfile,
    Profile,
    ProfileInput,
    Supplier,
    Workflow,
    WorkflowOverride,
)

__all__ = [
    "AppChoice",
    "CustomerProfile",
    "OverrideFilter",
    "Overrides",
    "Profile",
    "ProfileInput",
    "Profiles",
    "Supplier",
    "Workflow",
    "WorkflowOverride",
]
