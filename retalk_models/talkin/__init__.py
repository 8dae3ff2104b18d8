"""Networks of the engine talkin: sound to expression, and the rendering of the mouth; docs/talkin.md.

May import `retalk_models.layers`; torch and numpy only.
"""
