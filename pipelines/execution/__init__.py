"""The stages at work: the Ray Data graph, the local loop, workers, assembly.

May import `pipelines.planning`, `pipelines.preflight`, `pipelines.monitoring` and below. The only folder that
starts Ray.
"""
