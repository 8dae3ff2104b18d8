"""Speech: sound to phones and band levels, and from these to the movement of the mouth."""
