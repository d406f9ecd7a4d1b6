"""The double-entry ledger: accounts split by route, balanced append-only transactions, balances at any time."""
