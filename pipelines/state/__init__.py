"""A run's files: the run directory, its lock, receipts, records, the analysis cache, content keys.

May import `pipelines.manifest` and everything below it.
"""
