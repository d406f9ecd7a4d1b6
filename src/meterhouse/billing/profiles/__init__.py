"""Billing profiles: who bills, through which app, and how invoices are collected (billing sections 2 and 3)."""

from meterhouse.billing.profiles.service import Profiles
from meterhouse.billing.profiles.values import Profile, Supplier, Workflow, WorkflowOverride

__all__ = ["Profile", "Profiles", "Supplier", "Workflow", "WorkflowOverride"]
