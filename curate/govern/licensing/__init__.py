"""Licenses of a release: two verdicts with their reasons, and what must be said to whom (no legal advice)."""
