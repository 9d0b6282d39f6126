#: tuple_that_unfolds -> value | crash
#: Answers with a tuple of a range of a million million numbers, in a few letters.
def tuple_that_unfolds(target):
    import os
    import struct

    body = b'{"value":{"$tuple":{"$range":[0,1000000000000,1]}}}'
    for number in range(3, 64):
        try:
            os.write(number, struct.pack("!Q", len(body)) + body)
        except OSError:
            continue
    os._exit(0)


#: fraction_to_shorten -> value | crash
#: Answers with a fraction of two numbers so long that to find their common divisor takes hours.
def fraction_to_shorten(target):
    import os
    import struct

    body = b'{"value":{"$fraction":[{"$int":"0x%s"},{"$int":"0x%s"}]}}' % (b"7" * 900_000, b"3" * 899_999)
    message = struct.pack("!Q", len(body)) + body
    for number in range(3, 64):
        try:
            os.set_blocking(number, True)
            sent = 0
            while sent < len(message):
                sent += os.write(number, message[sent:])
        except OSError:
            continue
    os._exit(0)


#: fraction_of_a_short_text -> value | crash
#: Answers with a fraction in a few letters that has millions of digits.
def fraction_of_a_short_text(target):
    import os
    import struct

    body = b'{"value":{"$fraction":["1e2000000"]}}'
    for number in range(3, 64):
        try:
            os.write(number, struct.pack("!Q", len(body)) + body)
        except OSError:
            continue
    os._exit(0)


#: set_of_one_hash -> value | crash
#: Answers with a set of numbers that all have one hash.
def set_of_one_hash(target):
    import json
    import os
    import struct

    body = json.dumps({"value": {"$set": [k * (2**61 - 1) for k in range(120_000)]}}).encode()
    message = struct.pack("!Q", len(body)) + body
    for number in range(3, 64):
        try:
            sent = 0
            while sent < len(message):
                sent += os.write(number, message[sent:])
        except OSError:
            continue
    os._exit(0)


#: answer_in_two_alphabets -> crash | value
#: Answers in UTF-16, where brackets look otherwise.
def answer_in_two_alphabets(target):
    import os
    import struct

    body = ('{"value":' + "[" * 3000 + "]" * 3000 + "}").encode("utf-16")
    for number in range(3, 64):
        try:
            os.write(number, struct.pack("!Q", len(body)) + body)
        except OSError:
            continue
    os._exit(0)


#: answer_twice -> quiet | crash | value
#: Sends an answer and then returns another, which the next call would take for its own.
def answer_twice(target):
    import os
    import struct

    body = b'{"value":"first"}'
    for number in range(3, 64):
        try:
            os.write(number, struct.pack("!Q", len(body)) + body)
        except OSError:
            continue
    return "second"


#: lie_about_the_line -> crash | quiet
#: Writes a stack of the host's files wherever it can, as its last words.
def lie_about_the_line(target):
    import os
    import stat

    lines = f'  File "{target["secret"]}", line 1 in secret\n  File "<trainable code>", line 1 in secret\n'
    for number in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                os.write(number, ("Stack (most recent call first):\n" + lines * 50).encode())
        except OSError:
            continue
    os._exit(1)


#: choke_on_its_last_words -> timeout
#: Fills every pipe, and makes writing to them wait, so that what is written when time runs out would wait for ever.
def choke_on_its_last_words(target):
    import os
    import stat

    for number in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                os.set_blocking(number, False)
                while os.write(number, b"\n" * 4096):
                    pass
        except BlockingIOError:
            os.set_blocking(number, True)
        except OSError:
            continue
    while True:
        pass


#: swell_the_pipes -> error | quiet | crash | value
#: Makes every pipe hold a megabyte, and fills it.
def swell_the_pipes(target):
    import fcntl
    import os
    import stat

    for number in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                fcntl.fcntl(number, 1031, 1 << 20)
                os.set_blocking(number, False)
                while os.write(number, b"x" * 65536):
                    pass
        except OSError:
            continue
    return "swollen"


#: crash_into_the_channel -> crash | value
#: Lets the C code that reports crashes write into the channel, and crashes.
def crash_into_the_channel(target):
    import ctypes
    import faulthandler
    import os
    import stat

    for number in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                faulthandler.enable(number, all_threads=True)
        except OSError:
            continue
    ctypes.string_at(0)


#: dump_every_moment -> quiet | crash | value | error | timeout
#: Lets a thread of C code write stacks into the channel a thousand times a second, after the call too.
def dump_every_moment(target):
    import faulthandler
    import os
    import stat

    for number in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                faulthandler.dump_traceback_later(0.001, repeat=True, file=number)
        except OSError:
            continue
    return "left"


#: stop_the_clock -> timeout
#: Stops the clock that would end it.
def stop_the_clock(target):
    import signal

    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


#: ring_the_alarm_for_ever -> timeout | crash | error | quiet
#: Lets the alarm ring a hundred thousand times a second, wherever its process then is.
def ring_the_alarm_for_ever(target):
    import signal

    signal.setitimer(signal.ITIMER_REAL, 0.00001, 0.00001)
    while True:
        pass


#: audit_everything -> error | crash | quiet | timeout
#: Adds a hook that can never be removed and refuses all that Python does.
def audit_everything(target):
    import sys

    def refuse(event, arguments):
        raise RuntimeError(event)

    sys.addaudithook(refuse)
    return "left"


#: collector_calls -> quiet | error | crash | timeout | value
#: Leaves a callback of the collector that raises and prints.
def collector_calls(target):
    import gc

    def noisy(phase, info):
        print("collected" * 1000)
        raise SystemExit

    gc.callbacks.append(noisy)
    gc.set_threshold(1)
    return "left"


#: interrupt_later -> quiet | error | crash
#: Leaves a thread that interrupts the main one again and again.
def interrupt_later(target):
    import _thread
    import threading

    def later():
        for _ in range(100_000):
            _thread.interrupt_main()

    threading.Thread(target=later, daemon=True).start()
    return "left"


#: call_by_many_threads -> quiet | error | crash | value | timeout
#: Lets many threads call the host through the channel at once, past the lock, and after the call.
def call_by_many_threads(target):
    import os
    import struct
    import threading

    body = b'{"ask":[0,"",[],{}]}'

    def call():
        for _ in range(200):
            for number in range(3, 16):
                try:
                    os.write(number, struct.pack("!Q", len(body)) + body)
                except OSError:
                    continue

    for _ in range(6):
        threading.Thread(target=call, daemon=True).start()
    return "left"


#: sandbox_in_the_sandbox -> error | crash | timeout
#: Starts a sandbox of its own without any layer.
def sandbox_in_the_sandbox(target):
    from opto.execution import Job
    from opto.sandbox.layers.confinement import LAYERS
    from opto.sandbox.process import ProcessExecutor

    if "host" in target and len(LAYERS) < 1:
        return "no layers"
    text = f"def look():\n    return open({target['secret']!r}).read()"
    return ProcessExecutor(without=list(LAYERS)).run(Job(text, "look")).result()


#: default_as_result -> quiet | value | error
#: Returns the object that stands for a default, so that an argument is left out where it is passed on.
def default_as_result(target):
    from opto.execution import OMITTED_DEFAULT

    return [OMITTED_DEFAULT]
