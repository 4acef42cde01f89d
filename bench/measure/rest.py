"""Rest: pauses ahead of samples, for a card whose own power or heat holds its clocks down."""

from __future__ import annotations

from dataclasses import dataclass

_FIRST_SECONDS = 0.1


@dataclass
class Rest:
    """How long the card rests ahead of every sample of a round, as the rounds of a group go on.

    Not at all until a round is refused for power or heat and for nothing else. From then on all samples of a round
    follow the same pause, which doubles with every further such round. When `patience` rounds in a row are refused at
    the longest pause, the calls themselves are what heats the card, and it rests no more.

    Attributes:
        longest: seconds of the longest pause; 0 for none ever.
        patience: rounds in a row that the longest pause may fail to clear.
        pause: seconds, ahead of every sample of the next round.
        seconds: rested so far.
    """

    longest: float
    patience: int
    pause: float = 0.0
    seconds: float = 0.0
    _vain: int = 0
    _over: bool = False

    def learn(self, counted: bool, heated: bool) -> None:
        """A round has ended. It counted, or it was refused, for power or heat alone where it is `heated`."""
        if counted:
            self._vain = 0
        elif heated and not self._over:
            self._vain += self.pause >= self.longest
            self._over = self._vain >= self.patience
            self.pause = 0.0 if self._over else min(max(2 * self.pause, _FIRST_SECONDS), self.longest)

    def told(self) -> str:
        """What the reason of a result that is refused for heat says of it."""
        if self.longest <= 0:
            return "the card was not let rest (rest_seconds is 0)"
        return f"the card rested {self.seconds:.3g} s between samples"
