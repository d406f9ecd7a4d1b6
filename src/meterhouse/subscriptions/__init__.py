"""A customer's own commercial schedule: phases and items in time, made from a plan."""
