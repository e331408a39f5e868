"""Reports of a run, each a pure function of its record."""

__all__ = ["FILES"]

FILES = {
    "text": "report.txt",
    "md": "report.md",
    "html": "report.html",
    "junit": "junit.xml",
    "csv": "history.csv",
}
"""The formats by their name on the command line, and the file that each becomes."""
