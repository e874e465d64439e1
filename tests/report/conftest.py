"""Run folders to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stories import Story, WriteRun


@pytest.fixture
def finished(tmp_path: Path) -> WriteRun:
    """Writes a run that came to its end at once, and returns its URL."""

    def write(name: str = "quick", **options: Any) -> str:
        story = Story(f"{tmp_path}/{name}", **options)
        story.finish(story.attempt(0, story.steps))
        return story.folder.url

    return write


@pytest.fixture
def recovered(tmp_path: Path) -> str:
    """A run that lost a worker at step 260, and then another before it could begin, and went on from step 200."""
    story = Story(f"{tmp_path}/recovered")
    story.attempt(0, 260, report_also=(203, 257))
    story.lose(200, "rank 1 of 2 on <host> was killed (exit code 137)")
    story.folder.start_attempt()
    story.lose(200, "ranks [1] of 2 did not start within 30 s")
    story.finish(story.attempt(200, story.steps))
    return story.folder.url
