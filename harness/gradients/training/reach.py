"""What reached a parameter during a training, and why it does not learn where nothing did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FROZEN = "never gets a gradient (requires_grad is False)"
CUT = "never gets a gradient (no backward reaches it: it is cut from the graph, or not used)"
ZERO = "its gradient is exactly 0 in every update"
NO_OPTIMISER = "gets a gradient, but no optimiser that stepped has it"


@dataclass
class Reach:
    """Of one parameter: what a recording saw of it.

    frozen    whether requires_grad was False all along
    reached   whether it ever had a gradient
    stepped   updates of an optimiser that has it
    nonzero   updates in which its gradient had an entry other than 0
    """

    frozen: bool = True
    reached: bool = False
    stepped: int = 0
    nonzero: int = 0

    def reason(self, any_step: bool) -> str | None:
        """Why it does not learn, or None where it does."""
        if not self.reached:
            return FROZEN if self.frozen else CUT
        if not self.stepped:
            return NO_OPTIMISER if any_step else None
        return None if self.nonzero else ZERO


def idle(parameters: Mapping[str, Reach]) -> dict[str, str]:
    """The parameters that do not learn, by name, each with the reason."""
    any_step = any(reach.stepped for reach in parameters.values())
    reasons = {name: reach.reason(any_step) for name, reach in parameters.items()}
    return {name: reason for name, reason in reasons.items() if reason}
