"""What code in the executor `inprocess` sees of a module: its public names, without the modules that it imported.

Imports leaves and `enumerations`. `MODULES` were looked through: what of them opens files, evaluates texts, starts
processes or changes the program is hidden; the test that walks them says whether a new Python has brought more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from opto.errors import SandboxForbiddenError
from opto.sandbox.enumerations import STAND_INS

__all__ = ["MODULES", "Shown", "Shows"]

_MODULES = """
    __future__ abc array base64 bisect calendar cmath collections collections.abc colorsys copy dataclasses datetime
    decimal difflib enum fractions functools hashlib heapq html html.entities html.parser itertools json json.decoder
    json.encoder math numbers numpy numpy.char numpy.exceptions numpy.fft numpy.linalg numpy.ma numpy.polynomial
    numpy.polynomial.polynomial numpy.random numpy.strings numpy.typing operator pprint random re secrets statistics
    string textwrap time typing unicodedata uuid zoneinfo"""
MODULES = frozenset(_MODULES.split())
"""What may be imported unless the user adds to it."""

_HIDDEN: dict[str, frozenset[str]] = {
    module: frozenset(names.split())
    for module, names in {
        "abc": "ABCMeta",  # makes classes with any attribute
        "calendar": "LocaleHTMLCalendar LocaleTextCalendar",  # set the locale of the process
        "collections": "UserString",  # its `format` reads attributes
        "dataclasses": "make_dataclass",
        "enum": "EnumDict EnumMeta EnumType ReprEnum global_enum",
        "functools": "singledispatch singledispatchmethod",  # evaluate annotations
        "numpy": """
            DataSource asmatrix bmat from_dlpack fromfile fromregex genfromtxt info load loadtxt lookfor mafromtxt
            matrix memmap ndfromtxt recfromcsv recfromtxt safe_eval save savetxt savez savez_compressed show_config
            show_runtime source test""",
        "string": "Formatter",  # reads attributes
        "time": "clock_settime clock_settime_ns pthread_getcpuclockid tzset",
        "typing": "ForwardRef evaluate_forward_ref get_type_hints",  # evaluate texts
        "uuid": "getnode main uuid1 uuid6",  # start processes
        "zoneinfo": "reset_tzpath",
    }.items()
}


class Shown(ModuleType):
    """A module as code that a model wrote sees it. What is asked for and not shown is refused by name."""

    def __init__(self, module: ModuleType, replaced: Mapping[str, Any], shows: Shows) -> None:
        super().__init__(f"{module.__name__} (its public names)")  # no name of a module: `import` would look it up
        for name in _public(module):
            value = replaced.get(name, vars(module)[name])
            value = STAND_INS.get(id(value), value)
            self.__dict__[name] = value.copy() if type(value) in (dict, list, set) else value
        self.__dict__["__all__"] = [name for name in self.__dict__ if not name.startswith("_")]
        self.__dict__["__getattr__"] = _finder(module, shows)


def _public(module: ModuleType) -> list[str]:
    hidden = _HIDDEN.get(module.__name__, ())
    names = getattr(module, "__all__", None) or vars(module)
    there = vars(module)  # what is loaded when it is asked for is a module
    shown = (name for name in names if not name.startswith("_") and name not in hidden and name in there)
    return [name for name in shown if not isinstance(there[name], ModuleType)]


def _finder(module: ModuleType, shows: Shows) -> Any:
    def find(name: str) -> Any:
        inner = f"{module.__name__}.{name}"
        if inner in shows.modules:
            return shows.module(inner)
        if name.startswith("__") or name not in (*vars(module), *getattr(module, "__all__", ())):
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        raise SandboxForbiddenError(f"the code may not use {inner}")

    return find


class Shows:
    """Modules as one text sees them: those in `modules`; the others are there in name only."""

    def __init__(self, modules: Collection[str], replaced: Mapping[str, Mapping[str, Any]]) -> None:
        self.modules = modules
        self._replaced = replaced
        self._made: dict[str, ModuleType] = {}

    def module(self, name: str) -> ModuleType:
        """The module of this name, imported if need be."""
        made = self._made.get(name)
        if made is None:
            module = import_module(name)
            made = Shown(module, self._replaced.get(name, {}), self) if name in self.modules else _withheld(name)
            self._made[name] = made
        return made


def _withheld(name: str) -> ModuleType:
    def refuse(attribute: str) -> Any:
        raise SandboxForbiddenError(
            f"the code may not use {name}.{attribute}: InProcessExecutor(modules=[{name!r}]) would allow it"
        )

    made = ModuleType(f"{name} (withheld)")
    made.__dict__["__getattr__"] = refuse
    return made
