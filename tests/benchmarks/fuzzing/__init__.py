"""Tests of the media fuzzer, and its first cases."""
