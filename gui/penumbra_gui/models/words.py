"""Marks words for translators where no Qt is: Qt's ``lupdate`` finds them by this function's name."""

from __future__ import annotations


def QT_TRANSLATE_NOOP(context: str, text: str) -> str:  # noqa: N802 # the name lupdate looks for
    """``text`` as it is; a view shows it through ``translate(context, text)``."""
    del context
    return text
