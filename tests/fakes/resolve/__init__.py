"""Resolve as far as the scripts use it, with the traps that are known of it (HOSTS 2).

Every object answers to any name; ends are not included; a clip over another is not placed, without a word; source
frames can be one off; a render job writes files by the settings in force, preset and all; Studio's calls fail loudly on
the free edition. Names that begin with ``_`` are the tests' own.
"""

import re
from pathlib import Path

from . import _pixels
from ._base import HostObject, StudioOnly
from ._fusion import Composition

__all__ = ["Composition", "HostObject", "Resolve", "StudioOnly"]


class MediaPoolItem(HostObject):
    def __init__(self, name, path, count, rate, frame=None):
        self._name, self._count, self._frame = name, count, frame
        self._properties = {"File Path": path, "FPS": rate, "Frames": str(count), "Alpha mode": "None"}
        self._properties["Resolution"] = "64x48"

    def GetName(self):
        return self._name

    def SetName(self, name):
        self._name = name
        return True

    def GetClipProperty(self, propertyName=None):
        return dict(self._properties) if propertyName is None else self._properties.get(propertyName, "")

    def SetClipProperty(self, propertyName, propertyValue):
        assert isinstance(propertyValue, str)
        if propertyName not in self._properties:
            return False
        self._properties[propertyName] = propertyValue
        return True

    def _pixels(self, index):
        """Frame ``index`` from the media's start."""
        if self._frame is not None:
            return self._frame(index)
        path = self._properties["File Path"]
        first = re.search(r"\[(\d+)-\d+\]", path)
        number = int(first.group(1)) + index
        return _pixels.read(path.replace(first.group(0), f"{number:0{len(first.group(1))}d}"))


class Folder(HostObject):
    def __init__(self, name):
        self._name, self._folders, self._clips = name, [], []

    def GetName(self):
        return self._name

    def GetSubFolderList(self):
        return list(self._folders)

    def GetClipList(self):
        return list(self._clips)


class TimelineItem(HostObject):
    _made = 0

    def __init__(self, media, start, duration, left_offset, speed=1.0, comps=0):
        TimelineItem._made += 1
        self._id, self._media, self._start, self._duration = f"item-{TimelineItem._made}", media, start, duration
        self._offset, self._speed, self._comps, self._enabled = left_offset, speed, comps, True
        self._inspector = {"ZoomX": 1.0, "ZoomY": 1.0, "Pan": 0.0, "FlipX": False, "Opacity": 100.0, "Scaling": 0}

    def GetName(self):
        return self._media._name

    def GetUniqueId(self):
        return self._id

    def GetStart(self, subframe_precision=False):
        return self._start

    def GetEnd(self, subframe_precision=False):
        return self._start + self._duration

    def GetDuration(self, subframe_precision=False):
        return self._duration

    def GetLeftOffset(self, subframe_precision=False):
        return self._offset

    def GetRightOffset(self, subframe_precision=False):
        """By how much of the timeline's time the clip could go on, at its speed."""
        return max(0, round((self._media._count - self._offset) / self._speed) - self._duration)

    def GetSourceStartFrame(self):
        return self._offset + 1

    def GetSourceEndFrame(self):
        return self._offset + round(self._duration * self._speed)

    def GetFusionCompCount(self):
        return self._comps

    def AddFusionComp(self):
        self._comps += 1
        return Composition()

    def GetMediaPoolItem(self):
        return self._media if self._media._properties["File Path"] or self._media._frame else None

    def SetClipEnabled(self, Bool):
        self._enabled = Bool
        return True

    def GetProperty(self, propertyKey=None):
        return dict(self._inspector) if propertyKey is None else self._inspector.get(propertyKey)

    def SetProperty(self, propertyKey, propertyValue):
        if propertyKey not in self._inspector:
            return False
        self._inspector[propertyKey] = propertyValue
        return True

    def GetClipEnabled(self):
        return self._enabled

    def _pixels(self, frame):
        found = self._media._pixels(self._offset + round((frame - self._start) * self._speed))
        return found[:, ::-1] if self._inspector["FlipX"] else found


class _Track:
    def __init__(self, name):
        self.name, self.items, self.enabled = name, [], True


class Timeline(HostObject):
    def __init__(self, start_timecode="01:00:00;00", rate="23.976"):
        self._timecode, self._rate, self._tracks, self._playhead = start_timecode, rate, [_Track("Video 1")], 0
        self._settings = {}  # those that are not the project's
        hours, minutes, seconds, frames = (int(part) for part in re.split("[:;]", start_timecode))
        self._start = ((hours * 60 + minutes) * 60 + seconds) * round(float(rate.split()[0])) + frames
        if rate.endswith("DF"):
            # Of every minute but each tenth the first numbers are left out, two of 29.97, four of 59.94.
            passed = 60 * hours + minutes
            self._start -= round(float(rate.split()[0])) // 15 * (passed - passed // 10)

    def GetName(self):
        return "Timeline 1"

    def GetStartFrame(self):
        return self._start

    def GetEndFrame(self):
        return max(item.GetEnd() for track in self._tracks for item in track.items)

    def GetStartTimecode(self):
        return self._timecode

    def GetSetting(self, settingName):
        told = {"timelineFrameRate": self._rate, "timelineResolutionWidth": "64", "timelineResolutionHeight": "48"}
        return {**told, **self._settings}.get(settingName, "")

    def GetCurrentVideoItem(self):
        for track in reversed(self._tracks):
            for item in track.items:
                if track.enabled and item._start <= self._playhead < item.GetEnd():
                    return item
        return None

    def GetTrackCount(self, trackType):
        return len(self._tracks) if trackType == "video" else 0

    def GetTrackName(self, trackType, trackIndex):
        return self._tracks[trackIndex - 1].name

    def SetTrackName(self, trackType, trackIndex, name):
        self._tracks[trackIndex - 1].name = name
        return True

    def GetItemListInTrack(self, trackType, index):
        return list(self._tracks[index - 1].items)

    def AddTrack(self, trackType, subTrackType=None):
        assert trackType == "video"
        self._tracks.append(_Track(f"Video {len(self._tracks) + 1}"))
        return True

    def DeleteTrack(self, trackType, trackIndex):
        del self._tracks[trackIndex - 1]
        return True

    def GetIsTrackEnabled(self, trackType, trackIndex):
        return self._tracks[trackIndex - 1].enabled

    def SetTrackEnable(self, trackType, trackIndex, Bool):
        self._tracks[trackIndex - 1].enabled = Bool
        return True

    def _put(self, media, track, start, duration, left_offset=0, **given):
        """Test's own: a clip on a track, which is made if need be."""
        while len(self._tracks) < track:
            self.AddTrack("video")
        item = TimelineItem(media, start, duration, left_offset, **given)
        self._tracks[track - 1].items.append(item)
        return item


class MediaPool(HostObject):
    def __init__(self, project):
        self._project, self._root, self._selected, self._individual = project, Folder("Master"), [], False
        self._current = self._root

    def GetRootFolder(self):
        return self._root

    def GetCurrentFolder(self):
        return self._current

    def SetCurrentFolder(self, folder):
        self._current = folder
        return True

    def AddSubFolder(self, folder, name):
        made = Folder(name)
        folder._folders.append(made)
        self._current = made
        return made

    def GetSelectedClips(self):
        return list(self._selected)

    def ImportMedia(self, items):
        made = []
        for entry in items:
            path, first, last = entry["FilePath"], int(entry["StartIndex"]), int(entry["EndIndex"])
            numbers = [n for n in range(first, last + 1) if Path(path % n).is_file()]
            mark = re.search(r"%0?(\d*)d", path)
            width = int(mark.group(1) or 1)
            for group in [[n] for n in numbers] if self._individual else [numbers]:
                if group:
                    shown = path.replace(mark.group(0), f"[{group[0]:0{width}d}-{group[-1]:0{width}d}]")
                    # The rate is the project's, whatever the files say.
                    made.append(MediaPoolItem(Path(shown).name, shown, len(group), "24"))
        self._current._clips += made
        return made

    def CreateEmptyTimeline(self, name):
        return Timeline()

    def AppendToTimeline(self, clips):
        timeline, made = self._project._timeline, []
        for entry in clips:
            duration = int(entry["endFrame"]) - int(entry["startFrame"])
            start, media = int(entry["recordFrame"]), entry["mediaPoolItem"]
            tracks, index = timeline._tracks, int(entry["trackIndex"])
            fits = 1 <= index <= len(tracks) and 0 <= entry["startFrame"] < entry["endFrame"] <= media._count
            if not fits or any(o._start < start + duration and o.GetEnd() > start for o in tracks[index - 1].items):
                continue
            item = TimelineItem(media, start, duration, int(entry["startFrame"]))
            tracks[index - 1].items.append(item)
            made.append(item)
        return made


_CODECS = {"EXR DWAA": "RGBHalfDWAA", "EXR Half Zip": "RGBHalfZIP1", "EXR Float": "RGBFloat"}


class Project(HostObject):
    def __init__(self, name):
        self._name, self._pool, self._timeline = name, MediaPool(self), Timeline()
        self._settings = {"colorScienceMode": "davinciYRGB", "colorSpaceOutput": "Rec.709 Gamma 2.4"}
        # What the Deliver page was last used for: dailies of half the size.
        self._deliver = {"format": "mov", "codec": "H264", "mode": 0, "FormatWidth": 32, "FormatHeight": 24}
        self._presets, self._jobs, self._rendered, self._lies = {}, {}, [], False

    def GetName(self):
        return self._name

    def GetMediaPool(self):
        return self._pool

    def SetCurrentTimeline(self, timeline):
        self._timeline = timeline
        return True

    def GetCurrentTimeline(self):
        return self._timeline

    def GetSetting(self, settingName):
        return self._settings.get(settingName, "")

    def GetRenderCodecs(self, renderFormat):
        return dict(_CODECS) if renderFormat == "exr" else {}

    def SetCurrentRenderFormatAndCodec(self, format, codec):
        if format == "exr" and codec not in _CODECS.values():
            return False
        self._deliver.update(format=format, codec=codec)
        return True

    def SetCurrentRenderMode(self, renderMode):
        self._deliver["mode"] = renderMode
        return True

    def SetRenderSettings(self, settings):
        if "AlphaMode" in settings and not settings.get("ExportAlpha"):
            return False
        self._deliver.update(settings)
        return True

    def SaveAsNewRenderPreset(self, presetName):
        if presetName in self._presets:
            return False
        self._presets[presetName] = dict(self._deliver)
        return True

    def LoadRenderPreset(self, presetName):
        if presetName not in self._presets:
            return False
        self._deliver = dict(self._presets[presetName])
        return True

    def DeleteRenderPreset(self, presetName):
        return self._presets.pop(presetName, None) is not None

    def AddRenderJob(self):
        identity = f"job-{len(self._jobs) + 1}"
        self._jobs[identity] = {**self._deliver, "JobStatus": "Ready"}
        return identity

    def DeleteRenderJob(self, jobId):
        return self._jobs.pop(jobId, None) is not None

    def StartRendering(self, jobIds):
        for identity in jobIds:
            self._jobs[identity]["JobStatus"] = "Rendering"
        return True

    def StopRendering(self):
        return None

    def GetRenderJobStatus(self, jobId):
        job = self._jobs[jobId]
        if job["JobStatus"] == "Rendering":
            self._render(job)
            job["JobStatus"] = "Complete"
            return {"JobStatus": "Rendering", "CompletionPercentage": 50}
        return {"JobStatus": job["JobStatus"], "CompletionPercentage": 100}

    def _render(self, job):
        assert (job["format"], job["mode"]) == ("exr", 1)
        name = job["CustomName"] + ("_" if job["CustomName"][-1].isdigit() else "")
        last = job["MarkOut"] - (1 if self._lies else 0)
        for frame in range(job["MarkIn"], last + 1):
            pixels = _pixels.scaled(self._seen(frame), job["FormatHeight"], job["FormatWidth"])
            self._rendered.append(frame)
            channels = ("R", "G", "B", "A") if job["ExportAlpha"] else ("R", "G", "B")
            _pixels.write(Path(job["TargetDir"]) / f"{name}{frame:08d}.exr", pixels, channels)

    def _seen(self, frame):
        """What the tracks that are on show at a frame, laid over each other."""
        seen = None
        for track in self._timeline._tracks:
            for item in track.items:
                if track.enabled and item._enabled and item._start <= frame < item.GetEnd():
                    above = item._pixels(frame)
                    seen = above if seen is None else above + (1 - above[..., 3:]) * seen
        assert seen is not None, f"nothing is to be seen at {frame}"
        return seen


class ProjectManager(HostObject):
    def __init__(self, project):
        self._project = project

    def GetCurrentProject(self):
        return self._project

    def CreateProject(self, projectName):
        if self._project is not None and self._project.GetName() == projectName:
            return None
        self._project = Project(projectName)
        return self._project

    def LoadProject(self, projectName):
        return self._project if self._project.GetName() == projectName else None


class Fusion(HostObject):
    def __init__(self, free):
        self._free = free

    @property
    def UIManager(self):
        if self._free:
            raise StudioOnly("a window asks to buy Studio")
        return HostObject()


class Resolve(HostObject):
    def __init__(self, product="DaVinci Resolve Studio", version=(20, 3, 2, 9, ""), project="Fïlm 1"):
        self._product, self._version, self._alive = product, list(version), True
        self._project = None if project is None else Project(project)

    def GetProductName(self):
        return self._product if self._alive else None

    def GetVersion(self):
        return list(self._version)

    def GetProjectManager(self):
        return ProjectManager(self._project)

    def Fusion(self):
        return Fusion("Studio" not in self._product)
