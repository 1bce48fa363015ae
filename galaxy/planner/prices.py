"""What calls of models cost, by a table that the node's owner keeps."""

from collections.abc import Mapping
from dataclasses import dataclass

from .contract import PlannerFailed


@dataclass(frozen=True, slots=True)
class Price:
    """Of a million tokens, in the currency of the table."""

    in_per_million: float
    out_per_million: float

    def of(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.in_per_million + tokens_out * self.out_per_million) / 1_000_000


FREE = Price(0.0, 0.0)


def price_of(model: str, prices: Mapping[str, Price], *, money_counts: bool) -> Price:
    """Return the model's price; raise PlannerFailed if it is unknown where money is limited."""
    if model in prices:
        return prices[model]
    if money_counts:
        raise PlannerFailed(
            f"the constellation has a budget of money and the price of {model} is not known: set GALAXY_LLM_PRICES, "
            f'as {{"{model}": {{"in_per_million": 1.0, "out_per_million": 4.0}}}}, or leave the money unlimited'
        )
    return FREE
