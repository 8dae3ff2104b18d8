"""Data sets for training: the columns of a clip, shards on any storage, readers without Ray, and how raw videos become one.

Imports the other folders of `pipelines` but the commands; only `prepare` starts Ray.
"""
