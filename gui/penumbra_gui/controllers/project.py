"""What goes in: clips, masks, jobs and finished folders, checked by the engine as soon as they are chosen."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from penumbra.errors import PenumbraError
from penumbra.job import (
    CameraSettings,
    CleanPlateSettings,
    FrameRange,
    PlateSettings,
    RefineSettings,
    load_job,
)
from penumbra_gui.models.checks import MaskFacts, Sentence, Verdict
from penumbra_gui.models.clips import clip_of
from penumbra_gui.models.drops import sort_dropped
from penumbra_gui.models.outputs import (
    FinishedOutput,
    FolderState,
    free_folder,
    is_output,
    look_at_folder,
    open_output,
)
from penumbra_gui.models.project import Project, object_color, whole_folder
from penumbra_gui.models.service import FootageService
from penumbra_gui.models.session import Session
from penumbra_gui.models.workers import Loop, Workers
from penumbra_gui.views.dialogs import Dialogs
from penumbra_gui.views.job_form import JobFormView
from penumbra_gui.views.masks import MaskRow, MasksView
from penumbra_gui.views.parts import MessageBar
from penumbra_gui.views.words import translate

# Typing a number or dropping ten masks is one check.
_PAUSE_MILLISECONDS = 60


class ProjectController:
    """Owns the session's project. ``remember``: told the path of everything opened; ``find_job``: the job file kept of
    an unfinished output folder; ``fixed``: a host's job, in whose place no other is opened.
    """

    def __init__(
        self,
        session: Session,
        service: FootageService,
        loop: Loop,
        workers: Workers,
        form: JobFormView,
        masks: MasksView,
        messages: MessageBar,
        dialogs: Dialogs,
        remember: Callable[[str], None],
        find_job: Callable[[Path], Path | None] = lambda _folder: None,
        fixed: bool = False,
    ) -> None:
        self._find_job, self._folder, self._fixed = find_job, FolderState(""), fixed
        # What a verdict has put in the message bar, and what this has said of a choice: each is taken away when it no
        # longer holds, and words of others are left alone.
        self._judged, self._answered = "", ""
        self._session, self._service, self._loop, self._workers = session, service, loop, workers
        self._form, self._masks, self._messages, self._dialogs = form, masks, messages, dialogs
        self._remember = remember
        self._checks = 0
        self._connect()
        self._show()

    def _connect(self) -> None:
        form, masks = self._form, self._masks
        form.plate_asked.connect(self.ask_plate)
        form.frames_chosen.connect(self._choose_frames)
        form.all_frames.connect(lambda: self._change_plate(frames=None))
        form.color_space_chosen.connect(lambda name: self._change_plate(color_space=name))
        form.preview_quality.connect(lambda: self._change(refine=RefineSettings()))
        form.minutes_chosen.connect(self._choose_minutes)
        form.camera_chosen.connect(self._choose_camera)
        form.clean_plate_asked.connect(self._ask_clean_plate)
        form.clean_plate_dropped.connect(lambda: self._change(clean_plate=None))
        form.folder_asked.connect(self._ask_folder)
        form.folder_typed.connect(self._choose_folder)
        form.precision_chosen.connect(lambda name: self._change(precision=name))
        form.compression_chosen.connect(lambda name: self._change(compression=name))
        form.previews_chosen.connect(lambda on: self._change(previews=on))
        form.splits_chosen.connect(lambda on: self._change(splits=on))
        masks.add_asked.connect(self.ask_masks)
        masks.renamed.connect(lambda index, name: self._change_mask(index, name=name))
        masks.channel_chosen.connect(lambda index, channel: self._change_mask(index, channel=channel))
        masks.split_asked.connect(self._split_mask)
        masks.inverted.connect(lambda index, on: self._change_mask(index, invert=on))
        masks.removed.connect(lambda index: self._set(self._session.project.without_mask(index)))
        masks.reordered.connect(lambda names: self._set(self._session.project.with_order(names)))
        masks.dropped.connect(self.add_masks)

    def open_paths(self, paths: list[str], anew: bool = False) -> None:
        """Whatever was dropped, chosen or named on the command line; ``anew``: a clip is a plate and no mask."""
        dropped = sort_dropped(paths, self._session.project.plate is not None and not anew)
        if dropped.output:
            self.open_output(dropped.output)
        elif dropped.job:
            self.open_job(dropped.job)
        else:
            if dropped.plate:
                self.open_plate(dropped.plate)
            self._add(dropped.masks)

    def open_plate(self, path: str) -> None:
        """Another clip; masks and settings of the last one go with it. Masks chosen before any clip are this one's."""
        before = self._session.project
        kept = Project(
            masks=before.masks if before.plate is None else (),
            refine=before.refine, precision=before.precision, compression=before.compression, previews=before.previews,
            splits=before.splits,
        )  # fmt: skip
        self._forget_folder()
        self._set(replace(kept, plate=PlateSettings(path), folder=free_folder(path)))
        self._remember(path)

    def open_job(self, path: str, remembered: str = "") -> None:
        """A job file, remembered by its own path unless by another."""
        try:
            job = load_job(Path(path))
        except PenumbraError as error:
            self._tell_error(error)
            return
        self.take_project(Project.of_job(job))
        self._remember(remembered or path)

    def open_output(self, path: str) -> None:
        """An output folder; one of an unfinished run by the job this panel keeps of it."""
        kept = None if is_output(Path(path)) else self._find_job(Path(path))
        if kept is not None:
            self.open_job(str(kept), path)
            return
        try:
            output = open_output(Path(path))
        except PenumbraError as error:
            self._tell_error(error)
            return
        self.take_project(Project.of_job(output.job), output)
        self._remember(path)

    def ask_plate(self) -> None:
        """Through a file chooser."""
        paths = self._dialogs.open_files(translate("Project", "Open a clip"), several=False)
        if paths:
            self.open_plate(paths[0])

    def ask_masks(self) -> None:
        """Through a file chooser."""
        self.add_masks(self._dialogs.open_files(translate("Project", "Add masks"), several=True))

    def add_masks(self, paths: list[str]) -> None:
        """What was dropped or chosen as masks; a job or an output folder is opened all the same."""
        dropped = sort_dropped(paths, has_plate=True)
        if dropped.masks:
            self._add(dropped.masks)
        elif not self._fixed:
            self.open_paths(paths)
        elif paths:
            text = translate("Project", "{0} is no mask.").format(Path(paths[0]).name)
            self._answer("note", text, translate("Project", "Drop image sequences or movies."))

    def check(self) -> None:
        """Asks the engine about the footage as it is chosen now."""
        self._checks += 1
        number = self._checks
        self._loop.later(_PAUSE_MILLISECONDS, lambda: self._check_if_last(number))

    def _check_if_last(self, number: int) -> None:
        project = self._session.project
        if number != self._checks or project.plate is None:
            return
        answer = self._service.ask("check", **_parts(project))
        answer.add_done_callback(lambda future: self._loop.post(lambda: self._take_answer(number, future)))

    def _take_answer(self, number: int, future: Future[Any]) -> None:
        if number != self._checks:
            return
        try:
            verdict = Verdict.of_answer(future.result())
        except PenumbraError as error:
            verdict = Verdict(None, (), (Sentence("error", error.sentence, error.fix, error.code),))
        self._session.verdict = verdict
        self._session.edition += 1
        self.look_at_folder()
        self._show()
        self._tell_verdict(verdict)
        self._session.tell()

    def _tell_verdict(self, verdict: Verdict) -> None:
        said = sorted((*verdict.sentences, *verdict.clean_plate), key=lambda sentence: sentence.severity != "error")
        # Only an error is worth more than the answer to what the artist has just done.
        if said and (said[0].severity == "error" or not self._answer_stands):
            details = "\n".join(str(sentence) for sentence in said[1:])
            self._messages.show_message(said[0].severity, said[0].text, said[0].fix, details)
            self._judged = self._messages.text
        elif self._messages.text == self._judged:
            self._messages.hide()

    def use_service(self, service: FootageService) -> None:
        """Another engine reads footage from now on."""
        self._service = service
        self.check()

    def take_project(self, project: Project, output: FinishedOutput | None = None) -> None:
        """Another project in place of the open one."""
        self._forget_folder()
        self._session.output = output
        self._session.verdict = None
        self._set(project)
        self.check()

    def look_at_folder(self) -> None:
        """Finds out what the output folder holds; on a thread, because folders may lie on a slow server."""
        project, known = self._session.project, self._session.output
        if project.folder and project.plate is not None:
            folder, plate, names = project.folder, project.plate.path, project.names
            self._workers.run(
                lambda: look_at_folder(folder, plate, names, known), self._take_folder, lambda _error: None
            )

    def _take_folder(self, found: FolderState) -> None:
        if found.folder == self._session.project.folder:
            self._folder, self._session.begun = found, found.begun
            self._session.output, self._session.finished = found.output, found.frames
            self._show()
            self._session.tell()

    def _forget_folder(self) -> None:
        self._session.output, self._session.finished, self._session.begun = None, frozenset(), False

    def _set(self, project: Project) -> None:
        before, self._session.project = self._session.project, project
        self._show()
        answered = self._answer_stands
        if answered:
            self._messages.hide()
        self._answered = ""
        # What the answer has kept from being said is still to be told.
        if answered or _parts(before) != _parts(project):
            self.check()
        self._session.tell()

    def _change(self, **changes: Any) -> None:
        self._set(replace(self._session.project, **changes))

    def _change_plate(self, **changes: Any) -> None:
        plate = self._session.project.plate
        if plate is not None:
            self._change(plate=replace(plate, **changes))

    def _change_mask(self, index: int, **changes: Any) -> None:
        try:
            self._set(self._session.project.with_changed_mask(index, **changes))
        except PenumbraError as error:
            self._tell_error(error)
            self._show()

    def _split_mask(self, index: int) -> None:
        verdict = self._session.verdict
        name = self._session.project.masks[index].name
        found = next((mask for mask in verdict.masks if mask.name == name), None) if verdict is not None else None
        if found is not None and len(found.ids) > 1:
            self._set(self._session.project.with_split_mask(index, found.ids))

    def _choose_frames(self, first: int, last: int) -> None:
        span = None if self._session.verdict is None else self._session.verdict.span
        whole = span is not None and (first, last) == span
        try:
            frames = None if whole else FrameRange.parse(f"{first}-{last}")
        except PenumbraError as error:
            self._tell_error(error)
            self._show()
            return
        self._change_plate(frames=frames)

    def _choose_camera(self, mode: str) -> None:
        # The file of a camera that is read from one stays.
        if mode != self._session.project.camera.mode:
            self._change(camera=CameraSettings(mode))

    def _choose_minutes(self, minutes: float) -> None:
        self._change(refine=RefineSettings(minutes=minutes))

    def _choose_folder(self, folder: str) -> None:
        plate = self._session.project.plate
        try:
            folder = whole_folder(folder, "" if plate is None else plate.path)
        except PenumbraError as error:
            self._tell_error(error)
            self._show()
            return
        if folder != self._session.project.folder:
            self._forget_folder()
            self._change(folder=folder)
            self.look_at_folder()
        else:
            self._show()

    def _ask_folder(self) -> None:
        folder = self._dialogs.open_folder(translate("Project", "The output folder"), self._session.project.folder)
        if folder:
            self._choose_folder(folder)

    def _ask_clean_plate(self) -> None:
        paths = self._dialogs.open_files(translate("Project", "Your own clean plate"), several=False)
        if paths:
            self._change(clean_plate=CleanPlateSettings(paths[0]))

    def _add(self, paths: tuple[str, ...]) -> None:
        twice = []
        for path in paths:
            if clip_of(path) in [clip_of(mask.path) for mask in self._session.project.masks]:
                twice.append(Path(path).name)
            self._set(self._session.project.with_mask(path))
        if twice:
            text = translate("Project", "A mask already, and now one more object: {0}.").format(", ".join(twice))
            fix = translate("Project", "Choose another channel or value for it, or remove it.")
            self._answer("note", text, fix)

    def _tell_error(self, error: PenumbraError) -> None:
        self._answer("error", error.sentence, error.fix)

    def _answer(self, severity: str, text: str, fix: str) -> None:
        """Says what is the matter with a choice; stands until another is made."""
        self._messages.show_message(severity, text, fix)
        self._answered = self._messages.text

    @property
    def _answer_stands(self) -> bool:
        return bool(self._answered) and self._messages.text == self._answered

    def _show(self) -> None:
        project, verdict = self._session.project, self._session.verdict
        facts = str(verdict.plate) if verdict is not None and verdict.plate is not None else ""
        span = None if verdict is None else verdict.span
        note = self._folder.note if self._folder.folder == project.folder else None
        self._form.show_project(project, facts, span, note)
        known = {mask.name: mask for mask in verdict.masks} if verdict is not None else {}
        first = 0 if verdict is None or verdict.plate is None else verdict.plate.first
        places = [project.names.index(name) for name in project.order_at(first) or project.names]
        self._masks.show_rows(
            tuple(_row(project.masks[place], place, known.get(project.names[place])) for place in places)
        )


def _row(mask: Any, index: int, facts: MaskFacts | None) -> MaskRow:
    facts = facts or MaskFacts(mask.name)
    worst = min(facts.sentences, key=lambda sentence: sentence.severity != "error", default=None)
    note, severity = (str(worst), worst.severity) if worst is not None else ("", "")
    return MaskRow(
        index, mask.name, mask.path, object_color(index), mask.channel, facts.choices(), mask.invert, note, severity
    )


def _parts(project: Project) -> dict[str, Any]:
    """What a check depends on, as a job file spells it."""
    if project.plate is None:
        return {}
    body = {
        "path": project.plate.path,
        "frames": None if project.plate.frames is None else str(project.plate.frames),
        "color_space": project.plate.color_space,
        "working_space": project.plate.working_space,
    }
    masks = [
        {"name": m.name, "path": m.path, "channel": m.channel, "invert": m.invert, "offset": m.offset}
        for m in project.masks
    ]
    clean = project.clean_plate
    return {
        "plate": body,
        "masks": masks,
        "clean_plate": None if clean is None else {"path": clean.path, "color_space": clean.color_space},
    }
