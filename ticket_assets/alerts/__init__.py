"""Alerts: what a person has to know, once when it goes wrong and once when it is well again."""
