"""The engine talkin, Everybody's Talkin' as published: factors, and the stages `factors`, `express`, `choose`, `render`, `blend`.

May import `operators.exemplar`, whose pose, search and masks it shares, and the folders below; never `pipelines`.
"""
