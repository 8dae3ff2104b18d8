"""TensorFlow Lite networks as torch modules: the file's reader, the operators, and Google's face networks on top of them.

May be imported by what builds on networks; imports torch and the registry only.
"""
