"""What a run keeps on disk: the run directory, its lock, receipts, records, the analysis cache, content keys.

May import `pipelines.manifest` and below.
"""
