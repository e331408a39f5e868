"""Reports of a run, each a pure function of its record: a page, Markdown, JUnit XML."""
