"""Sweeps over data sets: lists of pairs, dubbing and scoring them, tables and plots of the scores.

May import everything in `pipelines` except the commands.
"""
