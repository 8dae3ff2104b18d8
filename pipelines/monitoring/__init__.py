"""Observation of a run: progress, run log, Prometheus metrics, notifications.

May import `pipelines.state` and everything below it.
"""
