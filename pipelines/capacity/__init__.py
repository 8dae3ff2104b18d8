"""What a run costs: forecasts, measured rates, profiles made of them.

May import `pipelines.execution` and below.
"""
