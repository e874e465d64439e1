"""What makes one vector of a video.

Each takes the picture and the sound: of videos their means, float32 [n, 1024] and [n, 128]; of frames float32
[n, longest, 1024] and [n, longest, 128] with the lengths, int64 [n]. The sound is None for a network without it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from echelon.recipes.video.models.lstm import BiLstm


class Joined(nn.Module):
    """The means of picture and sound, each brought to length 1 as by the challenge's public code, side by side."""

    def __init__(self, picture: int, sound: int) -> None:
        """Args: how many numbers there are of each; 0 for a network without sound."""
        super().__init__()
        self.outputs = picture + sound

    def forward(self, picture: Tensor, sound: Tensor | None, lengths: Tensor | None) -> Tensor:
        return _side_by_side(picture, sound)


class FrameMeans(nn.Module):
    """The same of the means of a video's true frames; zeros for a video without frames."""

    def __init__(self, picture: int, sound: int) -> None:
        super().__init__()
        self.outputs = picture + sound

    def forward(self, picture: Tensor, sound: Tensor | None, lengths: Tensor) -> Tensor:
        true = (torch.arange(picture.shape[1], device=lengths.device) < lengths[:, None]).to(picture.dtype)
        weights = true / lengths.clamp(min=1)[:, None]
        heard = None if sound is None else torch.einsum("nt,ntd->nd", weights, sound)
        return _side_by_side(torch.einsum("nt,ntd->nd", weights, picture), heard)


class TwoStreams(nn.Module):
    """Two bidirectional LSTMs, one sees the picture and one hears the sound: their last states, side by side."""

    def __init__(self, picture: int, sound: int, units: int, dropout: float) -> None:
        """Args: units: of each LSTM in each direction. dropout: of their last states."""
        super().__init__()
        self.picture = BiLstm(picture, units)
        self.sound = BiLstm(sound, units) if sound else None
        self.dropout = nn.Dropout(dropout)
        self.outputs = 2 * units * (2 if sound else 1)

    def forward(self, picture: Tensor, sound: Tensor | None, lengths: Tensor) -> Tensor:
        seen = self.picture(picture, lengths)
        if self.sound is None or sound is None:
            return self.dropout(seen)
        return self.dropout(torch.cat([seen, self.sound(sound, lengths)], dim=1))


def _side_by_side(picture: Tensor, sound: Tensor | None) -> Tensor:
    features = [picture] if sound is None else [picture, sound]
    return torch.cat([normalize(each) for each in features], dim=1)
