"""The commands of `retalk`: parsers, help texts, what is printed.

May import everything else in `pipelines`; nothing in `pipelines` imports it.
"""
