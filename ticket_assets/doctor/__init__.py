"""What `tickets doctor` looks at: one module for each kind of finding, without Dagster."""
