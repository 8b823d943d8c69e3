"""What `make bench` measures: plain functions that return figures."""
