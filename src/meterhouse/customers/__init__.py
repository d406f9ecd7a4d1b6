"""Customers, the subject keys that attribute usage to them, and subjects."""
