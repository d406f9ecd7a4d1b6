"""Charges on a real database."""
