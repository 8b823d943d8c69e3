"""What drives Dagster from outside the graph: runs of the command, and runs that are at work."""
