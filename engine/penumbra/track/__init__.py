"""The camera: one homography per frame to a reference frame, found in the plate or read from a file."""

from penumbra.track.camera import CameraTrack, locked_camera
from penumbra.track.files import read_homographies, write_homographies
from penumbra.track.tracker import track_camera

__all__ = ["CameraTrack", "locked_camera", "read_homographies", "track_camera", "write_homographies"]
