"""The review page of a run: a static page on which people look through dubs, approve and reject them.

Imports `pipelines.state` and the floors below; called by `pipelines.cli.report`.
"""
