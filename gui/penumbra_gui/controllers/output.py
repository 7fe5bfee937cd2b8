"""What goes out: folders opened, nodes copied, jobs saved, previews exported, refined once more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from penumbra.errors import PenumbraError
from penumbra.job import RefineSettings
from penumbra_gui.models.job_queue import save_text
from penumbra_gui.models.outputs import export_preview, nodes_text, refine_more
from penumbra_gui.models.project import Project
from penumbra_gui.models.session import Session
from penumbra_gui.models.workers import Workers
from penumbra_gui.views.dialogs import Dialogs
from penumbra_gui.views.parts import MessageBar
from penumbra_gui.views.run_panel import RunView
from penumbra_gui.views.words import translate

_MORE = RefineSettings(minutes=5)


class OutputController:
    """``take_project`` makes another project the open one."""

    def __init__(
        self,
        session: Session,
        workers: Workers,
        view: RunView,
        messages: MessageBar,
        dialogs: Dialogs,
        take_project: Callable[[Project], None],
    ) -> None:
        self._session, self._workers, self._view = session, workers, view
        self._messages, self._dialogs, self._take_project = messages, dialogs, take_project
        view.out_asked.connect(self.act)
        session.listen(self.show)
        self.show()

    def show(self) -> None:
        """Which buttons make sense."""
        project, possible = self._session.project, set[str]()
        if project.plate is not None and project.masks and project.folder:
            possible.add("job")
        if self._session.output is not None:
            possible |= {"folder", "Nuke", "Fusion", "preview", "refine"}
        elif self._session.finished:
            possible.add("folder")
        self._view.show_out(frozenset(possible))

    def act(self, name: str) -> None:
        """A button of the view, by its name."""
        try:
            if name in ("Nuke", "Fusion"):
                self._copy_nodes(name)
            elif name == "folder":
                self._dialogs.reveal(self._session.project.folder)
            elif name == "job":
                self._save_job()
            elif name == "preview":
                self._export()
            elif name == "refine":
                self._refine_more()
        except PenumbraError as error:
            self._messages.show_message("error", error.sentence, error.fix)

    def _copy_nodes(self, host: str) -> None:
        self._dialogs.copy(nodes_text(Path(self._session.project.folder), host))
        text = translate("Output", "The {0} nodes are on the clipboard: paste them into your script.").format(host)
        self._messages.show_message("note", text)

    def _save_job(self) -> None:
        job = self._session.project.job()
        start = str(Path(job.output.folder).parent / "shot.json")
        target = self._dialogs.save_file(translate("Output", "Save the job"), start)
        if not target:
            return
        try:
            save_text(Path(target), job.to_json())
        except OSError as error:
            text = translate("Output", "{0} cannot be written: {1}.").format(target, error)
            self._messages.show_message("error", text, translate("Output", "Choose another place."))
            return
        text = translate("Output", "Saved: {0}. Run it anywhere with penumbra decompose --job.").format(target)
        self._messages.show_message("note", text)

    def _export(self) -> None:
        folder = Path(self._session.project.folder)
        title, start = translate("Output", "Export the preview movie"), str(folder.parent / f"{folder.name}.mp4")
        target = self._dialogs.save_file(title, start)
        if target:
            self._workers.run(
                lambda: export_preview(folder, Path(target)),
                lambda _nothing: self._messages.show_message("note", translate("Output", "Saved: {0}").format(target)),
                lambda error: self._messages.show_message("error", str(error)),
            )

    def _refine_more(self) -> None:
        job = self._session.project.job()
        refine = _MORE if job.refine.off else job.refine
        further = refine_more(job, refine)
        self._take_project(Project.of_job(further))
        text = translate(
            "Output", "The next run goes on learning and writes to {0}; the layers so far stay as they are."
        ).format(further.output.folder)
        self._messages.show_message("note", text, translate("Output", "Press Start."))
