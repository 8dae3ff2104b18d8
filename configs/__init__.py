"""Engines (which stages) and profiles (how many of what) as YAML. Data only: read through
`pipelines.engine.config`.
"""
