"""Charges, invoices and how they come from subscriptions."""
