"""Training: data sets and the training of networks on them.

May import everything in `pipelines` except the commands.
"""
