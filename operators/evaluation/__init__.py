"""Metrics of dubbed videos, each a pure function, and contact sheets.

May import `operators.faces`, `operators.speech`, `operators.media` and everything below them; no engine.
"""
