#: through_a_private_module -> error | quiet
#: Takes `os` from a module that imported it for itself.
def through_a_private_module(target):
    import random

    return "escaped: " + str(random._os.listdir(target["home"]))


#: through_a_public_module -> error | quiet
#: The same with modules that were imported under their own names.
def through_a_public_module(target):
    import json
    import re

    return json.codecs.open(target["secret"]).read() + str(re.enum.sys.modules["os"])


#: through_a_module_of_a_module -> error | quiet
#: The same, one further away, and imported by its parts.
def through_a_module_of_a_module(target):
    from statistics import random as inner

    os = inner._os
    return "escaped: " + str(os.listdir(target["home"]))


#: file_read_by_numpy -> error | quiet
#: Lets numpy read a file.
def file_read_by_numpy(target):
    import numpy

    return bytes(numpy.fromfile(target["secret"], dtype="uint8"))


#: file_read_by_numpys_parsers -> error | quiet
#: Lets numpy read a file as text, three ways.
def file_read_by_numpys_parsers(target):
    import numpy

    for read in (numpy.genfromtxt, numpy.loadtxt, lambda path, dtype: numpy.fromregex(path, "(.+)", dtype)):
        try:
            return str(read(target["secret"], dtype="U100"))
        except ValueError:
            pass


#: file_mapped_by_numpy -> error | quiet
#: Lets numpy map a file into memory, to read it and to write to it.
def file_mapped_by_numpy(target):
    import numpy

    found = bytes(numpy.memmap(target["secret"], mode="r"))
    numpy.memmap(target["notes"], mode="r+")[:] = 65
    return found


#: file_written_by_an_array -> error | quiet
#: Lets an array write itself over a file.
def file_written_by_an_array(target):
    import numpy

    numpy.ones(3).tofile(target["notes"])
    getattr(numpy.ones(3), "dump")(target["notes"])


#: file_written_by_numpy -> error | quiet
#: Lets numpy save to a file.
def file_written_by_numpy(target):
    from numpy import save, savetxt

    savetxt(target["notes"], [1.0])
    save(target["home"] + "/left", [1.0])


#: file_opened_by_a_format -> error | quiet
#: Reaches numpy's file functions by the long way round.
def file_opened_by_a_format(target):
    import numpy

    return "escaped: " + str(numpy.lib.format.open_memmap.__globals__["os"].listdir(target["home"]))


#: text_run_by_numpys_tests -> error | quiet
#: Lets numpy's testing tools run a text.
def text_run_by_numpys_tests(target):
    import numpy.testing

    found = {}
    numpy.testing.runstring(f"found = open({target['secret']!r}).read()", found)
    return found["found"]


#: globals_of_compiled_functions -> error | quiet
#: Compiled extensions have other names for what a function knows.
def globals_of_compiled_functions(target):
    import numpy

    found = numpy.random.default_rng.func_globals["__builtins__"]
    return found.open(target["secret"]).read()


#: field_that_is_a_program -> error | quiet
#: A data class whose field has a program for its name.
def field_that_is_a_program(target):
    from dataclasses import dataclass

    class Form:
        __annotations__ = {f"x if 0 else open({target['secret']!r}).read()": "str"}

    return repr(dataclass(init=False, eq=False)(Form)())


#: field_of_a_typed_dictionary -> error | quiet
#: The same with a class that a library makes, fields and all.
def field_of_a_typed_dictionary(target):
    from dataclasses import dataclass
    from typing import TypedDict

    name = f"x if 0 else open({target['secret']!r}).read()"
    return dataclass(init=False, eq=False)(TypedDict("Form", {name: str})).__repr__(5)


#: field_renamed_later -> error | quiet
#: The same with the field of a base, renamed before it is inherited.
def field_renamed_later(target):
    from dataclasses import dataclass, fields, make_dataclass

    Base = make_dataclass("Base", [("x", int, 0)])
    fields(Base)[0].name = f"x if 0 else open({target['secret']!r}).read()"

    class Form(Base):
        pass

    return repr(dataclass(init=False, eq=False)(Form)())


#: class_of_the_library_rewritten -> error | quiet
#: Lets a decorator rewrite a class that the program uses, too.
def class_of_the_library_rewritten(target):
    import dataclasses
    import json

    dataclasses.dataclass(json.JSONEncoder)


#: name_that_is_not_what_it_says -> error | quiet
#: A name that splits into harmless parts when it is looked at.
def name_that_is_not_what_it_says(target):
    import json
    from operator import attrgetter

    class Name(str):
        def split(self, separator=None, times=-1):
            return ["real"]

        def startswith(self, start):
            return False

    return attrgetter(Name("__globals__"))(json.loads)["codecs"].open(target["secret"]).read()


#: annotation_that_is_a_program -> error | quiet
#: A library evaluates annotations that are texts.
def annotation_that_is_a_program(target):
    import typing

    def inner():
        pass

    inner.__annotations__ = {"x": f"[open({target['secret']!r}).read()]"}
    return typing.get_type_hints(inner)


#: annotation_that_a_dispatcher_runs -> error | quiet
#: A decorator evaluates annotations that are texts, and says in its error what it found.
def annotation_that_a_dispatcher_runs(target):
    import functools

    @functools.singledispatch
    def outer(x):
        pass

    @outer.register
    def inner(x: "[open(" + repr(target["secret"]) + ").read()]"):
        pass


#: wrapper_that_takes_globals -> error | quiet
#: Lets a library copy the globals of its function to an object that looks at what it gets.
def wrapper_that_takes_globals(target):
    import functools
    import json

    kept = {}

    class Wrapper:
        def __setattr__(self, name, value):
            kept[name] = value

    functools.update_wrapper(Wrapper(), json.loads, assigned=["__globals__"], updated=())
    return kept["__globals__"]["codecs"].open(target["secret"]).read()


#: enumeration_of_a_module -> error | quiet
#: Makes an enumeration of what a module contains.
def enumeration_of_a_module(target):
    import enum

    found = enum.Enum._convert_("Found", "os", lambda name: name == "listdir")
    return "escaped: " + str(list(found)[0].value(target["home"]))


#: enumeration_of_its_own -> error | quiet
#: The same with a class of its own, where the method is one of the class of the class.
def enumeration_of_its_own(target):
    import enum

    class Kind(enum.Enum):
        pass

    found = Kind._convert_("Found", "os", lambda name: name == "listdir")
    return "escaped: " + str(list(found)[0].value(target["home"]))


#: enumeration_with_methods -> error | quiet
#: Makes an enumeration whose members are methods that no text may define, and lets a library write for it.
def enumeration_with_methods(target):
    import copy
    import enum
    import json
    from abc import ABC

    class Any(ABC):
        pass

    def change(self, protocol):
        return lambda: Any, (), (None, {"__match_args__": ("__globals__",)})

    Any.register(type(json.loads))
    copy.copy(enum.Enum("Copied", {"__copy__": None, "__reduce_ex__": change, "A": 1}).A)
    match json.loads:
        case Any(found):
            return found["codecs"].open(target["secret"]).read()


#: enumeration_by_its_lineage -> error | quiet
#: The same by a class of the library that a class of its own is made of.
def enumeration_by_its_lineage(target):
    import copy
    import enum
    import json
    from abc import ABC

    class Any(ABC):
        pass

    class Empty(enum.Enum):
        pass

    def change(self, protocol):
        return lambda: Any, (), (None, {"__match_args__": ("__globals__",)})

    Any.register(type(json.loads))
    made = [kind for kind in Empty.mro() if kind.__name__ == "Enum"][-1]
    copy.copy(made("Copied", {"__copy__": None, "__reduce_ex__": change, "A": 1}).A)
    match json.loads:
        case Any(found):
            return found["codecs"].open(target["secret"]).read()


#: enumeration_among_the_builtins -> error | quiet
#: Lets an enumeration put its members where all code looks.
def enumeration_among_the_builtins(target):
    import enum

    @enum.global_enum
    class Planted(enum.Enum):
        __module__ = "builtins"
        planted_by_hostile_code = 1


#: pattern_that_reads_globals -> error | quiet
#: A class that functions count as instances of, and a pattern that reads their attributes by position.
def pattern_that_reads_globals(target):
    import json
    from abc import ABC

    class Any(ABC):
        __match_args__ = ("__globals__",)

    Any.register(type(json.loads))
    match json.loads:
        case Any(found):
            return found["codecs"].open(target["secret"]).read()


#: pattern_that_reads_frames -> error | quiet
#: The same by keyword, of a generator.
def pattern_that_reads_frames(target):
    def steps():
        yield

    match steps():
        case object(gi_frame=object(f_builtins=found)):
            return found["open"](target["secret"]).read()


#: format_that_reads_the_environment -> error | quiet
#: A format walks from a class to the environment, and what it finds is plain text.
def format_that_reads_the_environment(target):
    import random

    return "{0.__init__.__globals__[_os].environ}".format(random.Random)


#: format_by_a_library -> error | quiet
#: The same by two libraries that format.
def format_by_a_library(target):
    import collections
    import random
    import string

    pattern = "{0.__init__.__globals__[_os].environ}"
    return collections.UserString(pattern).format(random.Random), string.Formatter().format(pattern, random.Random)


#: format_as_an_argument -> error | quiet
#: The same without a dot before `format`.
def format_as_an_argument(target):
    import random

    return list(map(str.format, ["{0.__init__.__globals__[_os].environ}"], [random.Random]))


#: attribute_read_by_reduce -> error | quiet
#: Reads attributes one after the other by a function that is only passed on.
def attribute_read_by_reduce(target):
    import functools
    import random

    return functools.reduce(getattr, ["__init__", "__globals__"], random.Random)["_os"].environ.copy()


#: error_that_holds_a_module -> error | quiet
#: An error knows the object that lacks the attribute.
def error_that_holds_a_module(target):
    import json

    try:
        json.nothing
    except AttributeError as error:
        return error.obj.codecs.open(target["secret"]).read()


#: error_that_holds_frames -> error | quiet
#: An error's traceback leads to frames, and they to globals.
def error_that_holds_frames(target):
    import json

    try:
        json.loads("")
    except ValueError as error:
        frame = error.__traceback__.tb_next.tb_frame
        return frame.f_builtins["open"](target["secret"]).read()


#: error_that_leaves_by_exit -> error | quiet
#: A context manager is handed a traceback.
def error_that_leaves_by_exit(target):
    import json

    class Look:
        def __enter__(self):
            return self

        def __exit__(self, kind, error, trace):
            self.found = trace.tb_next.tb_frame.f_builtins["open"](target["secret"]).read()
            return True

    with Look() as look:
        json.loads("")
    return look.found


#: licence_that_is_a_file -> error | quiet
#: The object that prints Python's licence reads any file.
def licence_that_is_a_file(target):
    license._Printer__filenames = [target["secret"]]
    license._Printer__lines = None
    return repr(license)


#: licence_by_a_mangled_name -> error | quiet
#: The same with a private name that a class makes of a shorter one.
def licence_by_a_mangled_name(target):
    class Printer:
        def look(self):
            license.__filenames, license.__lines = [target["secret"]], None
            return repr(license)

    return Printer().look()


#: import_in_the_place_of_builtins -> error | quiet
#: Gives the functions that follow another set of builtins, one that was never looked at.
def import_in_the_place_of_builtins(target):
    global __builtins__
    import random as __builtins__

    def inner():
        return _os  # noqa: F821

    return "escaped: " + str(inner().listdir(target["home"]))


#: class_with_any_attribute -> error | quiet
#: Makes a class with methods that no text may define, and lets a library call them to write to a class of its own.
def class_with_any_attribute(target):
    import copy
    import json

    change = (lambda: json.JSONEncoder, (), (None, {"item_separator": " escaped "}))
    copy.copy(type("Copied", (), {"__reduce__": lambda self: change})())


#: parser_changed_for_all -> error | quiet
#: Writes to a class that the program uses, too.
def parser_changed_for_all(target):
    import json

    json.JSONEncoder.item_separator = " escaped "
    setattr(json.JSONEncoder, "key_separator", " escaped ")


#: default_read_at_definition -> error | quiet
#: Does it while the function is being defined.
def default_read_at_definition(target, found=[]):
    return found or inner()


def inner(found=__import__("random")._os.getcwd()):
    return "quiet" if "opto-canary" not in found else "escaped: " + found


#: loop_that_swallows_all -> timeout
#: An endless loop that swallows whatever would end it.
def loop_that_swallows_all(target):
    while True:
        try:
            while True:
                pass
        except:  # noqa: E722
            pass


#: loop_that_goes_on_at_last -> timeout | error
#: The same by a jump that drops the error.
def loop_that_goes_on_at_last(target):
    while True:
        try:
            while True:
                pass
        finally:
            continue


#: end_of_the_program -> crash | error
#: Raises what ends a program, under another name.
def end_of_the_program(target):
    class Done(SystemExit):
        pass

    raise Done(3)
