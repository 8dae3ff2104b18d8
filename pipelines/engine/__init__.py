"""Engines and profiles: stages, their configuration, where each stage runs.

May import `operators`, `retalk_models` and `pipelines.errors`.
"""
