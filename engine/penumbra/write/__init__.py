"""Write: layers to EXR sequences, read back and verified, with the manifest and the previews beside them."""

from penumbra.storage import sweep_temporaries
from penumbra.write.clean_sequence import write_clean_frame
from penumbra.write.combined import write_combined
from penumbra.write.composites import COMPOSITES, write_composites
from penumbra.write.files import frame_path, prepare_output, refuse_links
from penumbra.write.frame_writer import FrameWriter
from penumbra.write.manifest import frame_entry, load_manifest, write_manifest
from penumbra.write.manifest_schema import manifest_schema
from penumbra.write.previews import keep_pictures, preview_paths, sketch_pictures, write_previews
from penumbra.write.verify import FrameVerdict, verify_frame

__all__ = [
    "COMPOSITES",
    "FrameVerdict",
    "FrameWriter",
    "frame_entry",
    "frame_path",
    "keep_pictures",
    "load_manifest",
    "manifest_schema",
    "prepare_output",
    "preview_paths",
    "refuse_links",
    "sketch_pictures",
    "sweep_temporaries",
    "verify_frame",
    "write_clean_frame",
    "write_combined",
    "write_composites",
    "write_manifest",
    "write_previews",
]
