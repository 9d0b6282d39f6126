"""Values of parameters by type: how a prompt shows one and asks for one, how a reply gives one, how code holds one.

`value_types.py` is the table and the functions that use it; read it first. The rows stand in `scalars.py` (texts,
numbers, dates, paths …), `structures.py` (lists, dicts …), `named_fields.py` (enumerations, dataclasses, named tuples,
attrs, pydantic) and `arrays.py` (numpy); `written_data.py` reads texts that hold data. A row names its type by text, so
that no library is imported before a program uses it. May import: the standard library and the leaves.

A program adds a row for a type of its own:

>>> class Money:
...     def __init__(self, cents):
...         self.cents = cents
>>> register_value_type(
...     Money,
...     plain=lambda money: f"{money.cents / 100:.2f} EUR",
...     read=lambda said: Money(round(float(said.removesuffix(" EUR")) * 100)),
...     words="an amount such as 3.50 EUR",
... )
>>> convert("4.20 EUR", Money(350)).cents, shown(Money(350))
(420, '3.50 EUR')
"""

from opto.values import arrays as arrays
from opto.values import named_fields as named_fields
from opto.values import scalars as scalars
from opto.values import structures as structures
from opto.values.value_types import convert, literal, plain, register_value_type, schema, shown, words

__all__ = ["convert", "literal", "plain", "register_value_type", "schema", "shown", "words"]
