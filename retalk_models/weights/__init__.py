"""Checkpoints of every format into the networks.

May import `retalk_models.registry` and the networks through `retalk_models.build`.
"""
