"""The model files: catalogue, where they are kept, how they are fetched and verified.

Imports `retalk_models.installation`, `plugins` and `storage_rules`; no network and no torch.
"""
