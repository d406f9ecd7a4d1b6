"""Moves all subscriptions of a plan version to another version, one by one, or shows what that would cost."""
