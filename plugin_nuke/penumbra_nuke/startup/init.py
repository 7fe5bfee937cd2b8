"""Puts Penumbra where Nuke's Python finds it; run by Nuke at every start, with a window or without."""

import nuke

try:
    nuke.pluginAddPath("./python")
except Exception as error:  # noqa: BLE001 # Nuke must start whatever is wrong with us
    nuke.tprint(f"Penumbra steps aside: {error}")
