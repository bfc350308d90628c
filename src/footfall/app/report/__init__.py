"""The report: what the loop found, on one page. In: ``ReportData``. Out: one HTML file that works offline."""

from footfall.app.report.data import (
    Day,
    ExplanationLine,
    ExplanationPart,
    ReportData,
    Totals,
    ValueLine,
    WinBack,
)
from footfall.app.report.render import render
from footfall.app.report.words import LANGUAGES, Language

__all__ = [
    "LANGUAGES",
    "Day",
    "ExplanationLine",
    "ExplanationPart",
    "Language",
    "ReportData",
    "Totals",
    "ValueLine",
    "WinBack",
    "render",
]
