"""Speech: sound to phones and band levels, and from these to the movement of the mouth; stage `speak`.

May import `operators.media` and everything below it.
"""
