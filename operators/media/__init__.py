"""Exact media handling: probe, decode a range, encode a segment, concatenate, mux. Time is rational; any path
is an fsspec URL.
"""
