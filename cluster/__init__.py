"""Job submission and cluster files. May import `pipelines` and everything to its left."""
