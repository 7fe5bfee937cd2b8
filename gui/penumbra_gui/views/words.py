"""Words said outside of any widget, in the artist's language."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication


def translate(context: str, text: str) -> str:
    """``text`` in the language chosen, itself where there is no translation. Qt's ``lupdate`` finds calls by name."""
    return QCoreApplication.translate(context, text)
