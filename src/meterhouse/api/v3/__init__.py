"""API v3: snake_case, page[size]/page[number], filters, strict bodies."""
