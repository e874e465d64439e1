"""What the page of a run shows beside its curves: a recipe says what, a template of this package how.

An exhibit is a dataclass with a title, a lead in words, and the name of its template, which gets it as `exhibit`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from markupsafe import Markup


class Exhibit(Protocol):
    """A section of the page. lead: one or two sentences below its title, or ""."""

    template: ClassVar[str]

    @property
    def title(self) -> str: ...
    @property
    def lead(self) -> str: ...


@dataclass(frozen=True)
class Sample:
    """One row of a split with what the model made of it.

    image: uint8 [3, H, W], or [1, H, W] for grey; or the content of a JPEG file; None for other recipes. text: what is
    shown large, as what was read. fields: what to write below, by name. correct: whether the prediction is right; None
    where that is no question.
    """

    image: np.ndarray | bytes | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    correct: bool | None = None
    text: str = ""

    @property
    def source(self) -> str:
        """The image as the address of a PNG or JPEG inside the page, or ""."""
        if self.image is None:
            return ""
        if isinstance(self.image, bytes):
            return "data:image/jpeg;base64," + base64.b64encode(self.image).decode()
        from echelon.report.plots import image_png

        return "data:image/png;base64," + base64.b64encode(image_png(self.image)).decode()


@dataclass(frozen=True)
class Gallery:
    """Small pictures with a few words each."""

    template: ClassVar[str] = "gallery.html"
    title: str
    samples: Sequence[Sample]

    @property
    def lead(self) -> str:
        judged = [sample.correct for sample in self.samples if sample.correct is not None]
        if not judged:
            return ""
        right = f"{sum(judged)} of these {len(judged)} are right."
        return f"{right} They show what the model does; the metrics above count every row."


@dataclass(frozen=True)
class Passages:
    """Texts, each with a few words about it."""

    template: ClassVar[str] = "passages.html"
    title: str
    lead: str
    samples: Sequence[Sample]


@dataclass(frozen=True)
class Clip:
    """Some seconds of sound.

    samples: float32 [n] in [-1, 1]. rate: of them a second. wav: the same as the content of a WAV file.
    """

    title: str
    samples: NDArray[np.float32]
    rate: int
    wav: bytes
    caption: str = ""

    @property
    def source(self) -> str:
        """The file as an address inside the page."""
        return "data:audio/wav;base64," + base64.b64encode(self.wav).decode()

    @property
    def drawing(self) -> Markup:
        """Waveform and spectrogram."""
        from echelon.report.render import drawing
        from echelon.report.sound import sound_figure

        return drawing(sound_figure(self.samples, self.rate), f"sound: {self.title}", salt=f"sound-{self.title}")


@dataclass(frozen=True)
class Clips:
    """Sound to be heard and seen."""

    template: ClassVar[str] = "clips.html"
    title: str
    lead: str
    clips: Sequence[Clip]


@dataclass(frozen=True)
class ConfusionMatrix:
    """How many rows of each class were taken for which.

    classes: names. counts: of the rows that are of the first class and were taken for the second, int [C, C].
    """

    template: ClassVar[str] = "confusion.html"
    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    title: str = "Confusion matrix"
    lead: str = "Rows are the true classes, columns what the model said; shares are of the true class."

    def __post_init__(self) -> None:
        if any(len(row) != len(self.classes) for row in (self.counts, *self.counts)):
            raise ValueError(f"a confusion matrix of {len(self.classes)} classes has as many rows and columns")

    @property
    def shares(self) -> list[list[float]]:
        """The counts as parts of the true class; 0 of one that has no rows."""
        return [[count / max(sum(row), 1) for count in row] for row in self.counts]


@dataclass(frozen=True)
class Figures:
    """A table of figures: what each row is about, and a text or number in every column."""

    template: ClassVar[str] = "figures.html"
    title: str
    lead: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]
