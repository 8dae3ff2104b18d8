"""Training of the networks: losses, critics, the sync expert, and one optimisation step of each network.

Imports torch and the rest of `retalk_models` only; data, loops and checkpoints are in `pipelines.training`.
"""
