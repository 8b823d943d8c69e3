"""What the models that the package contains are made from; no wheel contains it."""
