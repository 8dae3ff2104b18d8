"""Faster forms of the networks, the check that they are right on a device, the memory they take, and the allocator.

May import `retalk_models.networks`, `retalk_models.registry` and `retalk_models.layers`.
"""
