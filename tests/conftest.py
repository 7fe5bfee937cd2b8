"""Set before anything imports torch or OpenCV: the tests' arrays are too small to share between threads.

On a machine that is busy otherwise, threads waiting for each other made some tests ten times slower.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests that load ONNX Runtime by themselves shall tell its maker nothing either.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
