"""What Dagster sees: one module per asset with its checks beside it, in graph order."""
