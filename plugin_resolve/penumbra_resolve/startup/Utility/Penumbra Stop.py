"""Stops what Penumbra works on; what is finished is kept. Made by penumbra install resolve."""

import sys

if sys.version_info < (3, 9):
    print("Penumbra: Resolve runs Python %s here; 3.9 or newer is needed." % sys.version.split()[0])
else:
    sys.path.insert(0, "@PENUMBRA_MODULES@")
    try:
        from penumbra_resolve import edit_host
    except ImportError as error:
        print("Penumbra: %s. Run penumbra install resolve again." % error)
    else:
        edit_host.stop_all()
