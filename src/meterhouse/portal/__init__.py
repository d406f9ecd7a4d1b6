"""Portal tokens: let a subject read its own usage, and nothing else."""
