"""TensorFlow Lite networks as torch modules: the file's reader, the operators, and Google's face networks on top of them.

Imports torch and nothing of this distribution.
"""
