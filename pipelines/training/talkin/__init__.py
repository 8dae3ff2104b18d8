"""Training of the engine talkin: sound to expression on many speakers, then the rendering network on many people.

May import everything in `pipelines` except the commands.
"""
