"""Decisions go back to the desk's own systems: what they are told, by whom, and what came of it."""
