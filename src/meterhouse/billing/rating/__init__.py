"""From quantity to money: pure functions, no session, no clock (rating spec)."""
