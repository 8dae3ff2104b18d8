"""The model files: catalogue, where they are kept, how they are fetched and verified.

Imports no network and no torch.
"""
