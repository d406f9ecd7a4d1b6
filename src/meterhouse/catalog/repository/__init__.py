"""Queries on the tables of features and tax codes."""
