"""Networks that label videos, and the choice among them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from echelon.recipes.video.columns import FRAME, PICTURE, SIZES, SOUND, Level
from echelon.recipes.video.models.encoders import FrameMeans, Joined, TwoStreams
from echelon.recipes.video.models.heads import MixtureOfExperts, Mlp

LSTM, LOGISTIC, MLP, MOE = "lstm", "logistic", "mlp", "moe"
MODELS = (LSTM, LOGISTIC, MLP, MOE)


class Labeller(nn.Module):
    """An encoder, which makes one vector of a video, and a head, which gives the logits of its labels."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, picture: Tensor, sound: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """Logits, [n, labels]. Arguments as for `encoders`; of videos there are no lengths."""
        logits: Tensor = self.head(self.encoder(picture, sound, lengths))
        return logits


def network(
    name: str,
    level: Level,
    labels: int,
    *,
    audio: bool = True,
    units: int = 100,
    hidden: Sequence[int] = (500, 1000),
    dropout: float = 0.2,
    experts: int = 2,
) -> Labeller:
    """A new network.

    Args:
        name: "lstm", two bidirectional LSTMs and dense layers, for frames; or "logistic", "mlp" or "moe" on the means
            of a video, which are those of its frames where there are frames.
        units: of each LSTM in each direction. hidden: sizes of the dense layers of lstm and mlp. experts: of moe.
    """
    picture, sound = SIZES[PICTURE[level]], SIZES[SOUND[level]] if audio else 0
    encoder: TwoStreams | FrameMeans | Joined
    if name == LSTM:
        encoder = TwoStreams(picture, sound, units, dropout)
    else:
        encoder = FrameMeans(picture, sound) if level == FRAME else Joined(picture, sound)
    head: nn.Module
    if name == LOGISTIC:
        head = nn.Linear(encoder.outputs, labels)
    elif name == MOE:
        head = MixtureOfExperts(encoder.outputs, labels, experts)
    else:
        head = Mlp(encoder.outputs, hidden, labels, dropout)
    return Labeller(encoder, head)
