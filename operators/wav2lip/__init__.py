"""Stages of the engine `wav2lip`, the baseline of the paper's Table 1: face boxes, the generator, the paste.

May import `operators.media`, `retalk_models` and, of `operators.retalk`, S3FD, the mel-spectrogram and
`Networks`.
"""
