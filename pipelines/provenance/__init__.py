"""Signed provenance (C2PA): keys, manifests of dubs, signing, and what `retalk verify` finds in a file.

May import `pipelines.errors`, `pipelines.engine`, `pipelines.manifest` and `pipelines.state`; never Ray.
"""
