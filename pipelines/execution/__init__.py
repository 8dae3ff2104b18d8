"""Where stages run: the Ray Data graph, the local loop, workers, the collector, assembly.

May import `pipelines.planning`, `pipelines.preflight`, `pipelines.monitoring` and everything below them. The
only folder that starts Ray.
"""
