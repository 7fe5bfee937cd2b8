"""The Resolve and Fusion scripts: a clip and its masks in, layers on tracks or in the node graph out.

The engine works in a process of its own. Modules called ``*_host`` talk to Resolve through the protocols of
:mod:`penumbra_resolve.api`; nothing here needs more than Python 3.9.
"""
