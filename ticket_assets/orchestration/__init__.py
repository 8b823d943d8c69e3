"""Drives Dagster from outside the graph: runs of the command, runs that are at work, the UI."""
