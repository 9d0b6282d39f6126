"""Customers of the demo: what they write, in English and Spanish, and how they want to be greeted.

A seed draws who is trained on and who is kept unseen: other sentences in another order, other people.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Customer", "draw_customers"]


@dataclass(frozen=True, slots=True)
class Customer:
    """A message, its language ("en" or "es") and the greeting that the customer should get."""

    query: str
    language: str
    greeting: str

    def __str__(self) -> str:
        return self.query


def draw_customers(seed: int, *, train: int = 20, unseen: int = 24) -> tuple[list[Customer], list[Customer]]:
    """(customers to train on, customers never shown), half of each in each language.

    No person and no sentence of one group is in the other. They are greeted by the names that they give.

    >>> known, unseen = draw_customers(0)
    >>> len(known), len(unseen), {c.greeting for c in known} & {c.greeting for c in unseen}
    (20, 24, set())
    """
    languages: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    rng = random.Random(seed)
    groups: tuple[list[Customer], list[Customer]] = ([], [])
    for language, texts in languages.items():
        people = list(texts["names"])
        rng.shuffle(people)
        mixed = rng.sample(texts["sentences"], len(texts["sentences"]))
        cut = train // 2
        for index in range((train + unseen) // 2):
            name = people[index]
            sentence = mixed[index] if index < cut else mixed[cut + (index - cut) % (len(mixed) - cut)]
            customer = Customer(sentence.format(name=name), language, f"{texts['greeting']}, {name}!")
            groups[index >= cut].append(customer)
    for group in groups:
        rng.shuffle(group)
    return groups
