"""The figures of a desk for Prometheus: what they are called, how they are counted and served."""
