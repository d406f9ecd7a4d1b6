"""Gathering invoices, standard invoices and their life cycle (billing sections 4 to 9)."""
