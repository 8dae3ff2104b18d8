"""The exemplar engine: re-uses the mouths that the same footage already shows (Bregler 1997, Song et al. 2020).

May import `operators.faces`, `operators.speech`, `operators.media` and everything below them; no other engine.
"""
