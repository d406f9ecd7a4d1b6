"""Currencies: fiat ones, custom ones, and what custom ones are worth (catalog-extras sections 2 and 3)."""
