"""Events on their way in: their form, and the log that holds them until they are stored."""
