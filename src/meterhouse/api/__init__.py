"""The wire: routes, schemas and their translation to domain types. No rules live here."""
