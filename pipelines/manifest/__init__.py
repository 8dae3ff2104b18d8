"""The request: manifests, the titles and dubs they list, the paths that are allowed.

May import `pipelines.engine` and `pipelines.errors`.
"""
