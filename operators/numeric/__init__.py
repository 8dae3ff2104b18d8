"""Small pure functions that several methods share: runs of a mask, affine maps of the plane, blending by bands.

May import numpy, OpenCV, torch and nothing of ours; every other folder of `operators` may import it.
"""
