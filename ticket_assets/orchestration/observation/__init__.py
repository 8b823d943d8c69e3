"""What the exporter reads of a Dagster instance: runs, pools, automation, assets, checks."""
