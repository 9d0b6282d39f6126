"""Functions such as models write, each whole in itself: what one gives anywhere is what it gives when called here."""

import inspect
from collections.abc import Callable
from typing import Any


def expressions(x="a1bb2"):
    import re

    pattern = re.compile(r"(?P<d>\d)")
    return pattern.sub(lambda m: str(int(m["d"]) + 1), x), re.findall("b+", x), re.split(r"\d", x)


def documents(x='[1, {"a": null}]'):
    import json

    try:
        json.loads(x + "]")
    except json.JSONDecodeError as error:
        return json.dumps(json.loads(x), sort_keys=True, indent=1), type(error).__name__


def numbers(x=4):
    import statistics
    from math import pi
    from math import sqrt as root

    return root(x) + statistics.mean([x, x, 7]) + int(pi), round(statistics.stdev([1, 2, 4]), 3), divmod(7, x)


def dates(x="2024-02-28"):
    import datetime as dt
    from datetime import datetime

    day = datetime.strptime(x, "%Y-%m-%d")
    return (day + dt.timedelta(days=2)).strftime("%d.%m.%Y"), f"{day:%Y}", day.isoformat()


def containers(x="abcab"):
    from collections import Counter, defaultdict, deque, namedtuple
    from collections.abc import Mapping

    Pair = namedtuple("Pair", "x y")
    found = defaultdict(list)
    for position, letter in enumerate(x):
        found[letter].append(position)
    pair = Pair(1, 2)._replace(x=3)
    return Counter(x).most_common(1), pair._asdict(), dict(found), list(deque([1, 2], 1)), isinstance({}, Mapping)


def iterators(x=5):
    import functools
    import itertools
    import operator

    @functools.cache
    def fibonacci(n):
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    pairs = sorted([(2, "b"), (1, "c")], key=operator.itemgetter(1))
    ordered = sorted([3 + 1j, 2 + 2j], key=operator.attrgetter("imag"))
    sums = list(itertools.accumulate(range(x)))
    return sums, fibonacci(x), functools.reduce(operator.mul, [1, 2, 3]), pairs, ordered


def chance(x=1):
    import random

    generator = random.Random(x)
    random.seed(x)
    return generator.random() == random.random(), random.choice([3]), sorted(random.sample(range(3), 3))


def letters(x="q "):
    import string
    import textwrap

    filled = string.Template("$a b").substitute(a=x)
    formatted = "{:>4}|{a.real:.1f}|{b[k]!r}|{{}}".format(x, a=2, b={"k": "v"})
    return filled, string.ascii_lowercase[:2], textwrap.shorten("a b c " * 9, 9), formatted, "%s-%d" % (x, 3)  # noqa: UP031


def classes(x=2):
    from abc import ABC, abstractmethod
    from dataclasses import asdict, dataclass, field

    class Shape(ABC):
        @abstractmethod
        def area(self): ...

        def _twice(self):
            return 2 * self.area()

    @dataclass(order=True)
    class Square(Shape):
        side: int
        tags: list = field(default_factory=list)
        __count = 0

        def area(self) -> float:
            self._seen = self.__count = self.__count + 1
            return float(self.side**2)

        def _twice(self):
            return super()._twice() + 1

        @property
        def wide(self):
            return self.side > 1

    square = Square(x)
    square.side += 1
    found = square._twice(), square._seen, square.wide, asdict(square), type(square).__name__
    return found, Square(1) < Square(2), getattr(square, "side"), getattr(square, "none", 7), hasattr(square, "tags")


def enumerations(x=1):
    from enum import Enum, auto
    from typing import NamedTuple

    class Color(Enum):
        RED = auto()
        BLUE = auto()

    class Pair(NamedTuple):
        a: int
        b: int | None = None

    return Color(x).name, [color.value for color in Color], Color["BLUE"] is Color.BLUE, tuple(Pair(1)._replace(b=2))


def wrappers(x=3):
    from functools import wraps

    def twice(function):
        @wraps(function)
        def around(*args, **more):
            around.calls += 1
            return 2 * function(*args, **more)

        around.calls = 0
        return around

    @twice
    def add(a, b=1):
        """Doc."""
        return a + b

    return add(x), add(x, b=4), add.calls, add.__name__, add.__doc__


def patterns(x=({"a": [1, 2], "b": 3}, ["t"], None, 5.5)):
    def look(value):
        match value:
            case {"a": [first, *rest], **more} if first:
                return first, rest, more
            case str(text) | [text]:
                return text
            case float(number):
                return number
        return "none"

    return [look(value) for value in x]


def builtin_names(input=5, type="{}"):
    vars = [input, (total := input + 1)]
    return type.format(len(vars)), total, isinstance(input, (int, float)), max(vars, key=lambda v: -v)


def errors(x="q"):
    class Refused(ValueError):
        pass

    found = []
    for value in (x, None, "3"):
        try:
            found.append(int(value))
            raise Refused(f"not {value}")
        except Refused as error:
            found.append((type(error).__name__, str(error)))
        except (ValueError, TypeError) as error:
            found.append((type(error).__name__, error.args[0][:7]))
        finally:
            found.append("done")
    return found


def generators(x=4):
    def steps(n):
        got = yield 0
        for i in range(n):
            got = yield i * (got or 1)

    stepping = steps(x)
    first = next(stepping)
    return first, stepping.send(5), list(stepping), {k: v for k, v in zip("ab", (i for i in range(9)))}  # noqa: B905


def solver(x=((2, 1), (1, 3))):
    total, best = 0, None
    for row in x:
        for value in row:
            if value % 2 == 0:
                continue
            total += value
            best = value if best is None or value > best else best
        else:
            total += 100
    return total, best, sum(a * b for a, b in x), [*map(str, reversed(x[0]))], not best


def arrays(x=(1, 2, 3, 4)):
    import numpy as np
    from numpy.linalg import norm

    a = np.asarray(x, dtype=float).reshape(2, -1)
    draws = np.random.default_rng(0).normal(size=2)
    kept = np.where(a > 2, a, 0).sum(), np.linalg.det(a), norm(a), a.mean(axis=0).tolist(), (a @ a.T).tolist()
    return kept, draws.shape, np.polyfit([0, 1], [1, 3], 1).round(6).tolist(), str(np.fft.fft([1, 0])), f"{a[0, 0]:.2f}"


FUNCTIONS: list[Callable[..., Any]] = [
    value for value in list(globals().values()) if inspect.isfunction(value) and value.__module__ == __name__
]
