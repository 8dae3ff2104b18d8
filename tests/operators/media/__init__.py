"""Tests of `operators.media`: files written here with PyAV, the footage inside packages, and ../shared/clips
where present.
"""
