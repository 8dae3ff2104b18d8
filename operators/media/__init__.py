"""Exact media handling: probe, decode a range, encode a segment, join, mux.

Time is rational; any path is an fsspec URL. May import `operators.storage`, `operators.threads` and
`retalk_models`.
"""
