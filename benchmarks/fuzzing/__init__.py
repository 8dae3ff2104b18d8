"""The media fuzzer: damaged files of seventeen kinds through probe, plan and dub. `docs/fuzz.md` says how to use it.

May import everything; nothing imports it but tests.
"""
