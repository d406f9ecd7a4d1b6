"""The floor everything stands on: clock, ids, money, periods, errors, pages, database sessions, jobs and locks."""
