"""The commands of `retalk`: parsers, help texts and what they print.

May import everything else in `pipelines`; nothing in `pipelines` imports it.
"""
