"""Add-ons of subscriptions: how many there are in time, and what they make of the items."""
