"""The exemplar engine: re-uses the mouths that the same footage already shows (Bregler 1997, Song et al.
2020).
"""
