"""What a customer may use: entitlements, the grants that metered ones burn down, and access at an instant."""
