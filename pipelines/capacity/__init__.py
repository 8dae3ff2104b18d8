"""Cost of a run: forecasts, rates measured on this machine, profiles written from them.

May import `pipelines.execution` and everything below it.
"""
