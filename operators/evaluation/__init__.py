"""Metrics of dubbed videos, each a pure function, and contact sheets.

May import the other folders of `operators`.
"""
