#: walk_from_empty_tuple -> error | quiet
#: Goes from () by its class to every class there is, and from there to a module that runs programs.
def walk_from_empty_tuple(target):
    for kind in ().__class__.__base__.__subclasses__():
        names = getattr(getattr(kind, "__init__", None), "__globals__", {})
        if "system" in names and "listdir" in names:
            return "escaped: " + str(names["listdir"](target["home"]))
    return "none"


#: walk_by_pieces_of_names -> error | quiet
#: The same, with names that stand nowhere in the text.
def walk_by_pieces_of_names(target):
    a = "_" * 2
    base = getattr(getattr((), a + "class" + a), a + "base" + a)
    for kind in getattr(base, a + "subclasses" + a)():
        names = getattr(getattr(kind, a + "init" + a, None), a + "globals" + a, {})
        if "sys" in names:
            os = names["sys"].modules["os"]
            return "escaped: " + str(os.listdir(target["home"]))
    return "none"


#: walk_by_format -> quiet | error
#: Lets a format string read attributes.
def walk_by_format(target):
    def inner():
        pass

    text = "{0.__globals__[__builtins__]}".format(inner)
    return "seen" if "open" in text else "none"


#: walk_by_attrgetter -> error | quiet
#: Lets a library read attributes.
def walk_by_attrgetter(target):
    from operator import attrgetter, methodcaller

    kinds = methodcaller("__subclasses__")(attrgetter("__class__.__base__")(()))
    for kind in kinds:
        if kind.__name__ == "_wrap_close":
            return "escaped: " + str(attrgetter("__init__.__globals__")(kind)["listdir"](target["home"]))
    return "none"


#: walk_by_match -> error | quiet
#: Lets a match statement read attributes.
def walk_by_match(target):
    match print:
        case object(__self__=builtins):
            return builtins.open(target["secret"]).read()


#: walk_by_generator_frame -> error | quiet
#: Reaches globals through the frame of a generator.
def walk_by_generator_frame(target):
    frames = [None]

    def climb():
        frames[0] = generator.gi_frame.f_back
        yield

    generator = climb()
    next(generator)
    while frames[0].f_back:
        frames[0] = frames[0].f_back
    return frames[0].f_builtins["open"](target["secret"]).read()


#: walk_by_traceback -> error | quiet
#: Reaches the caller's frame through a traceback.
def walk_by_traceback(target):
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        frame = error.__traceback__.tb_frame
        while frame.f_back:
            frame = frame.f_back
        return frame.f_builtins["open"](target["secret"]).read()


#: import_in_unicode -> error
#: Imports a module spelled in letters that only look different.
def import_in_unicode(target):
    import ｏｓ

    return ｏｓ.listdir(target["home"]) and "escaped: listed"


#: attribute_in_unicode -> error | quiet
#: Reads attributes spelled in mathematical letters.
def attribute_in_unicode(target):
    kinds = ().__𝓬𝓵𝓪𝓼𝓼__.__𝓫𝓪𝓼𝓮__.__𝓼𝓾𝓫𝓬𝓵𝓪𝓼𝓼𝓮𝓼__()
    for kind in kinds:
        if kind.__name__ == "_wrap_close":
            return "escaped: " + str(kind.__𝓲𝓷𝓲𝓽__.__𝓰𝓵𝓸𝓫𝓪𝓵𝓼__["listdir"](target["home"]))
    return "none"


#: text_that_reads_backwards -> error | quiet
#: Hides a statement behind marks that turn the writing direction around.
def text_that_reads_backwards(target):
    harmless = "‮⁦ # begin of a comment ⁩⁦"; return open(target["secret"]).read()  # fmt: skip


#: names_that_look_alike -> error | quiet
#: Defines a twin of `len` in Cyrillic letters and hides `open` in another.
def names_that_look_alike(target):
    ореn = open
    return ореn(target["secret"]).read()


#: source_in_another_encoding -> error
#: Lets an encoding turn a comment into code.
def source_in_another_encoding(target):
    text = b"# coding: utf-7\n# +AAo-stolen = open(path).read()"
    names = {"path": target["secret"]}
    exec(compile(text, "x", "exec"), names)
    return names.get("stolen") or names["missing"]


#: code_in_default_value -> error | quiet
#: Acts in a default value, while the function is only defined.
def code_in_default_value(target, stolen=[open("/etc/passwd").readline()]):
    return "escaped: " + stolen[0]


#: code_in_annotation -> error | quiet
#: Acts in an annotation.
def code_in_annotation(target: (open("/etc/passwd").readline()) = None):
    return "escaped: " + str(code_in_annotation.__annotations__)


#: code_in_class_body -> error | quiet
#: Acts in the body of a class that stands before the function.
class Stolen:
    line = open("/etc/passwd").readline()


def code_in_class_body(target):
    return "escaped: " + Stolen.line


#: code_before_the_function -> crash | error
#: Ends the process while the text is only being defined.
import os  # noqa: E402

os._exit(0)


def code_before_the_function(target):
    return 1


#: another_object_for_the_function -> error | value | quiet
#: Puts something in the place of the function that acts when it is called or inspected.
class Shadow:
    __code__ = __wrapped__ = property(lambda self: 1 / 0)

    def __call__(self, target):
        return open(target["secret"]).read()

    def __getattr__(self, name):
        raise KeyboardInterrupt


def another_object_for_the_function(target):
    return 1


another_object_for_the_function = Shadow()


#: signature_that_lies -> error | value | quiet | timeout
#: Has a signature that loops when it is asked for.
def signature_that_lies(target):
    return 1


class Endless:
    def __get__(self, *_):
        while True:
            pass

    __iter__ = __repr__ = __eq__ = __get__


signature_that_lies.__signature__ = Endless()
signature_that_lies.__doc__ = Endless()
signature_that_lies.__defaults__ = (Endless(),)


#: evaluate_text -> error | quiet
#: Evaluates a text.
def evaluate_text(target):
    return eval("__import__('pathlib').Path(path).read_text()", {"path": target["secret"]})


#: execute_bytes -> error | quiet
#: Unpacks code from bytes.
def execute_bytes(target):
    import marshal

    code = marshal.loads(marshal.dumps(compile("open(path).read()", "x", "eval")))
    return eval(code, {"path": target["secret"]})


#: code_object_by_hand -> error | quiet | crash
#: Makes a function from the code of another with other constants.
def code_object_by_hand(target):
    def read(path):
        return sum(path)

    names = tuple("open" if name == "sum" else name for name in read.__code__.co_names)
    read.__code__ = read.__code__.replace(co_names=names)
    return read(target["secret"]).read()


#: import_by_library -> error | quiet
#: Imports by a function instead of a statement.
def import_by_library(target):
    import importlib

    return importlib.import_module("pathlib").Path(target["secret"]).read_text()


#: import_by_loader -> error | quiet
#: Imports by the loader of a module that it has.
def import_by_loader(target):
    return __loader__.load_module("posix").listdir(target["home"]) and "escaped: listed"


#: builtins_by_dict -> error | quiet
#: Takes builtins out of its globals.
def builtins_by_dict(target):
    names = globals()["__builtins__"]
    names = names if isinstance(names, dict) else vars(names)
    return names["op" + "en"](target["secret"]).read()


#: help_yourself -> error | quiet | timeout
#: Lets the help system import and page.
def help_yourself(target):
    import pydoc

    pydoc.pager = pydoc.plainpager
    pydoc.writedoc("json")
    return pydoc.safeimport("private_module") and "escaped: imported"


#: start_debugger -> error | quiet | timeout
#: Starts the debugger.
def start_debugger(target):
    breakpoint()
    return "continued"


#: python_interface_of_c -> error | quiet | crash
#: Calls Python's own C interface.
def python_interface_of_c(target):
    import ctypes

    run = ctypes.pythonapi.PyRun_SimpleString
    return "escaped" if run(f"open({target['notes']!r}, 'w').write('x')".encode()) == 0 else "refused"


#: machine_code -> error | quiet | crash
#: Writes machine code (a mere return) into memory and jumps there.
def machine_code(target):
    import ctypes
    import mmap

    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\xc3")
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
    return "ran in its own process"


#: nested_text -> error | crash | timeout | value
#: Is itself so deeply nested that a compiler's stack may end.
def nested_text(target):
    return <<"-" * 40000>>1


#: bracketed_text -> error | crash | timeout | value
#: Is itself full of open brackets.
def bracketed_text(target):
    return <<"[" * 5000>><<"]" * 5000>>


#: chained_text -> error | crash | timeout | quiet | value
#: Is itself a chain of attributes too long for a recursive compiler.
def chained_text(target):
    return target<<".x" * 50000>>


#: wide_text -> error | quiet | timeout | memory | value
#: Is itself a megabyte long.
def wide_text(target):
    return [<<"1, " * 300000>>]


#: formatted_text -> value | error | timeout | memory | crash
#: Is a formatted string of so many pieces that some compilers take minutes for it.
def formatted_text(target):
    return f"<<"{target}" * 60000>>"


#: folded_text -> error | quiet | timeout | memory | value
#: Lets the compiler fold constants until they are large.
def folded_text(target):
    return len((<<"('x' * 4096) * 4096, " * 200>>))


#: text_with_null -> error
#: Has a null byte in its text.
def text_with_null(target):
    return "<<"\x00" * 1>>"


#: text_that_is_no_function -> error | value
#: Defines nothing callable of its name.
text_that_is_no_function = "def text_that_is_no_function(target): a string"


#: text_with_two_faces -> error | quiet
#: Closes what may stand around it and goes on outside.
def text_with_two_faces(target):
    return locals()


__class__ = __define__ = __trace_code_text__ = "mine"
__builtins__ = {"open": open, "__import__": __import__}
__name__ = "__main__"


#: os_in_a_library -> error | quiet
#: Finds the operating system among what a harmless module imported for itself.
def os_in_a_library(target):
    import random

    return random._os.listdir(target["home"]) and "escaped: listed"


#: open_in_a_library -> error | quiet
#: Opens a file with the function of a module that only converts texts.
def open_in_a_library(target):
    import json

    return json.codecs.open(target["secret"]).read()


#: evaluate_annotation -> error | quiet
#: Lets the typing library evaluate a text in an annotation.
def evaluate_annotation(target):
    import typing

    def typed(x):
        pass

    typed.__annotations__["x"] = f"open({target['secret']!r}).read()"
    return typing.get_type_hints(typed)


#: walk_by_string_formatter -> error | quiet
#: Lets a formatter of the standard library look attributes up, and keeps what it finds.
def walk_by_string_formatter(target):
    import string

    found, _ = string.Formatter().get_field("0.__init__.__globals__", (string.Formatter(),), {})
    return found["__builtins__"]["open"](target["secret"]).read()


#: read_secret_by_numpy -> error
#: Reads the secret as an array of bytes.
def read_secret_by_numpy(target):
    import numpy

    return numpy.fromfile(target["secret"], dtype="u1").tobytes().decode()
