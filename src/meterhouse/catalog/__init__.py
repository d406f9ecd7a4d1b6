"""What is sold: features, plans, prices and rate cards, tax codes."""
