"""Penumbra's menu; run by Nuke at every start with a window."""

import nuke

try:
    from penumbra_nuke import node_host

    nuke.menu("Nodes").addMenu("Penumbra").addCommand("Penumbra", node_host.create)
except Exception as error:  # noqa: BLE001 # Nuke must start whatever is wrong with us
    nuke.tprint(f"Penumbra steps aside: {error}")
