"""The neural engine: the functions between the networks of VideoReTalking, each equal to the original's on
recorded inputs.
"""
