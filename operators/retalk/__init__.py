"""The neural engine: its stages, and the functions between VideoReTalking's networks.

Each function equals the original's on recorded inputs. May import `operators.faces`, `operators.media`,
everything below them and `retalk_models`; no other engine.
"""
