"""Rights of a run's titles and parts: notices on the picture, licences of what makes it, its bill of materials.

May import the folders below it on the map of docs/architecture.md.
"""
