"""Faces: boxes, 68 landmarks, tracks, validity per frame, and which person of a picture is meant."""
