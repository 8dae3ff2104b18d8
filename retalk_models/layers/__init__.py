"""Layers that several networks share, each written once.

Attribute names are those of the official checkpoints' keys. Imports torch only.
"""
