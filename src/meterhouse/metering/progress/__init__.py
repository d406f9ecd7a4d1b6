"""How far meter queries are, for clients that wait for a long one (metering section 16)."""
