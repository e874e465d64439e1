"""What --bucket-steps makes of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest

from echelon.data.bucketing import Bucketing
from echelon.errors import EchelonError
from echelon.train.config import RunConfig
from echelon.train.worker import Job, bucketing_of


@dataclass
class Wanting:
    """The learner and the configuration of a job, all that it is asked for."""

    config: RunConfig
    length_column: str | None

    @property
    def learner(self) -> Wanting:
        return self


def test_rows_are_sorted_by_the_column_of_the_learner_where_it_is_wanted() -> None:
    for steps, column, expected in ((0, "frames", None), (0, None, None), (4, "frames", Bucketing(4, "frames"))):
        assert bucketing_of(cast(Job, Wanting(RunConfig(bucket_steps=steps), column))) == expected
    with pytest.raises(EchelonError, match="--bucket-steps 4: Wanting does not say"):
        bucketing_of(cast(Job, Wanting(RunConfig(bucket_steps=4), None)))
