"""The stages: each a Spec and a function of (rows, spec)."""
