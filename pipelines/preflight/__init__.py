"""Checks before anything runs: inputs, outputs, resources, nodes.

May import `pipelines.state` and everything below it.
"""
