"""Execution of a run on Ray and in this process: the graph, the loop, workers, the collector, assembly.

May import `pipelines.planning`, `pipelines.preflight`, `pipelines.monitoring` and everything below them. The
only folder that starts Ray.
"""
