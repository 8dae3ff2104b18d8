"""Speech: sound to phones and mel, and from these to the mouth's movement."""
