"""What tokens of language models cost (catalog-extras section 4)."""
