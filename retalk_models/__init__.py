"""The networks of VideoReTalking as torch modules with the official checkpoint keys, and the registry of their weights.

May import torch and numpy only. Knows no files of users, no video, no Ray.
"""
