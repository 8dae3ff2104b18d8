"""What is to be dubbed: manifests, titles, paths that are allowed.

May import `pipelines.engine` and below.
"""
