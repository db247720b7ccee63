"""What storage costs: the configuration's `price` lines, and an estimate from them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from .conf_values import GB, without_password

_LINE = re.compile(
    r"(?:(?P<address>[A-Za-z][A-Za-z0-9+.-]*:\S+)\s+)?(?P<amount>[0-9]{1,9}(?:\.[0-9]{1,9})?)(?:\s+(?P<currency>[^\s\d.,]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Price:
    """What a GB (2^30 bytes) costs in a month, at targets at or below `address` (empty: everywhere)."""

    address: str
    amount: Decimal
    currency: str

    @classmethod
    def parse(cls, text: str) -> Price:
        match = _LINE.fullmatch(text)
        if match is None:
            raise ValueError(
                "allowed is [ADDRESS] NUMBER [CURRENCY], a month's price of a GB, such as 0.023 USD or "
                "s3://bucket 0.0045 EUR"
            )
        return cls(without_password(match["address"] or ""), Decimal(match["amount"]), match["currency"] or "")

    def of(self, size: int) -> Cost:
        """What `size` bytes cost in a month."""
        return Cost(self.amount * size / GB, self.currency)

    def __str__(self) -> str:
        return " ".join(part for part in (self.address, f"{self.amount:f}", self.currency) if part)


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount a month; as text it says that it is an estimate."""

    amount: Decimal
    currency: str

    def to_json(self) -> dict[str, float | str]:
        return {"amount": float(self.amount), "currency": self.currency}

    def __str__(self) -> str:
        shown = "less than 0.01" if self.amount < Decimal("0.01") else f"about {self.amount:.2f}"
        return f"{shown} {self.currency}".strip() + " a month"


def price_at(address: str, prices: Iterable[Price]) -> Price | None:
    """The price that holds for a target: the one whose address is nearest to its own; of several the last."""
    here = without_password(address).rstrip("/") + "/"
    best: Price | None = None
    for price in prices:
        holds = not price.address or here.startswith(price.address.rstrip("/") + "/")
        if holds and (best is None or len(price.address.rstrip("/")) >= len(best.address.rstrip("/"))):
            best = price
    return best


def cost_at(address: str, size: int, prices: Iterable[Price]) -> Cost | None:
    """What `size` bytes cost a month at a target, None where no price is known."""
    price = price_at(address, prices)
    return None if price is None else price.of(size)
