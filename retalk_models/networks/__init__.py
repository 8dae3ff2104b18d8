"""The networks, a file each, with the keys of the official checkpoints.

May import `retalk_models.layers`.
"""
