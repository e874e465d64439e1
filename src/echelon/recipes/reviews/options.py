"""The options of preparing reviews; the command line makes its flags from these fields."""

from __future__ import annotations

from dataclasses import dataclass

from echelon.errors import EchelonError
from echelon.recipes.reviews.cleaning import Cleaning
from echelon.recipes.reviews.columns import CLASSES
from echelon.recipes.reviews.lines import Fields
from echelon.train.config import option


@dataclass(frozen=True)
class PrepareOptions:
    """How reviews become a dataset."""

    classes: int = option(2, "2: 1 to 3 stars against 4 and 5; 5: the stars themselves")
    length: int = option(100, "words of each review that are kept, from its beginning")
    words: int = option(10_000, "size of the vocabulary: the most frequent words of the training reviews")
    text_field: str | None = option(None, "field with the text (default: reviewText, text or review_body)")
    rating_field: str | None = option(None, "field with the stars (default: overall, stars, rating or star_rating)")
    product_field: str | None = option(
        None,
        "field with the product, so that each is in one split (default: product_id, parent_asin, asin or business_id, "
        "where there is one; none: divide by text)",
    )
    stop_words: bool = option(False, "leave out usual words such as 'the'; negations stay")
    drop_negations: bool = option(False, "with --stop-words: leave out 'not', 'never' and the like too")
    text: bool = option(True, "keep what the reviewers wrote in a column, to be shown in reports")
    test_fraction: float = option(0.1, "part of the products, else of the texts, to test on, where no part is given")
    split_seed: int = option(0, "seed of that division")
    shuffle_seed: int = option(0, "seed of the order in which the rows are written")
    max_malformed: float = option(0.01, "part of the lines that may be malformed; more stop the job")
    resume: bool = option(False, "keep what an interrupted prepare of the same files has read and cleaned")

    def __post_init__(self) -> None:
        if self.classes not in CLASSES:
            raise EchelonError(f"--classes must be 2 or 5, got {self.classes}")
        for name in ("length", "words"):
            if getattr(self, name) < 1:
                raise EchelonError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.test_fraction < 1:
            raise EchelonError(f"--test-fraction must be at least 0 and below 1, got {self.test_fraction}")
        if not 0 <= self.max_malformed <= 1:
            raise EchelonError(f"--max-malformed must be between 0 and 1, got {self.max_malformed}")
        for name in ("split_seed", "shuffle_seed"):
            if getattr(self, name) < 0:
                raise EchelonError(f"--{name.replace('_', '-')} must not be negative, got {getattr(self, name)}")

    @property
    def cleaning(self) -> Cleaning:
        return Cleaning(self.stop_words, self.drop_negations)


@dataclass(frozen=True)
class Fitting:
    """What a trained model must be given: reviews prepared for it keep all this, whatever the options say.

    words: of its vocabulary, in the order of their ids. length: of "tokens". classes: names in the order of the
    labels. fields: of the lines that it was trained on, which are looked for before those that are usual; None where
    nobody knows. ids: that its embedding has, all below this number; None for as many as the files have.
    """

    words: tuple[str, ...]
    length: int
    classes: tuple[str, ...]
    cleaning: Cleaning
    fields: Fields | None = None
    ids: int | None = None

    def require_words(self) -> None:
        """
        Raises:
            EchelonError: the model knows no words, only ids.
        """
        if not self.words:
            raise EchelonError(
                "the model was trained on ids of words that nobody has kept (the old HDF5 files have no vocabulary), "
                "so it cannot read texts: give it such ids, or train on the raw files"
            )
