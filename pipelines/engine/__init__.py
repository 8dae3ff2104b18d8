"""Engines and profiles: their configuration, stages and the edges between them, placement of stages in pools.

May import `operators`, `retalk_models` and `pipelines.errors`.
"""
