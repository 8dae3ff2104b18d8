"""Results of a sweep, made of its scores: tables, intervals, tests, plots, contact sheets, one page.

May import `pipelines.engine`, `pipelines.state`, `pipelines.monitoring`, `pipelines.review` and everything below them.
"""
