"""The Nuke node: masks and a plate in, layers as live nodes out; the engine works in a process of its own.

Modules called ``*_host`` talk to Nuke and are imported inside it; the others need nothing but Python 3.9.
"""
