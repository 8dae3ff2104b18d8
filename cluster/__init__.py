"""Job submission and cluster files. May import every other package."""
