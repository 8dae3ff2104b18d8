"""Faces: boxes, 68 landmarks, tracks, validity per frame, and the choice of a person."""
