"""What a customer must pay for, independent of invoices: intents, state machines, realization runs (charges spec)."""
