"""Checks before anything runs: outputs, inputs, resources, nodes.

May import `pipelines.state` and below.
"""
