"""TensorFlow Lite networks as torch modules: the file's reader, the operators, and Google's face networks on top of them.

They are run by torch, or by LiteRT where it is installed (`runtime`). Imports nothing of this distribution but its installation.
"""
