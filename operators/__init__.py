"""The stages and the pure functions they are made of: numpy and torch in, numpy and torch out; media reading
and writing.

May import `retalk_models`. Never imports Ray; heavy optional parts (decord, dlib, pocketsphinx,
face-alignment) are imported in `setup`.
"""
