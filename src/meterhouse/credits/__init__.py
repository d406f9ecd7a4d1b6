"""Customer credit: grants, taking credit for consumption, advances, expiry, balances and the list of transactions."""
