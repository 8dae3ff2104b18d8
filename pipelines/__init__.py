"""Manifest, planner, the Ray Data graph, ledger, assembly and the command line.

The only place that imports `ray.data`. May import `operators`, `retalk_models` and `configs`.
"""
