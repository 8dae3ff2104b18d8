"""From titles to segments: probing, shots, length rules, halo, fan-out.

May import `pipelines.state` and everything below it.
"""
