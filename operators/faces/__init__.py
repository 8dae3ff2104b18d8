"""Faces: boxes, 68 landmarks, tracks, validity per frame, the choice of a person; stage `detect`.

May import `operators.media` and everything below it.
"""
