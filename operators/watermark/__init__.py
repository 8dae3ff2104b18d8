"""Watermarks: a 64-bit id under an error-correcting code, written into speech and pictures and read without the original.

May import `operators.numeric` and the registry of model files; never `pipelines`. It gets samples and pictures, and opens no files.
"""
