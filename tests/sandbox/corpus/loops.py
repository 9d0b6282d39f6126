#: spin -> timeout
#: Counts for ever.
def spin(target):
    n = 0
    while True:
        n += 1


#: spin_and_swallow -> timeout
#: Counts for ever and swallows whatever is thrown into the loop, BaseException too.
def spin_and_swallow(target):
    while True:
        try:
            while True:
                pass
        except BaseException:
            continue


#: spin_in_finally -> timeout
#: Starts the loop again in every finally, so that an exception thrown in only begins the next one.
def spin_in_finally(target):
    def again(depth):
        try:
            while True:
                pass
        finally:
            again(depth + 1)

    again(0)


#: spin_in_del -> timeout | quiet
#: Loops in a destructor, where exceptions are printed and forgotten.
def spin_in_del(target):
    class Trap:
        def __del__(self):
            while True:
                pass

    trap = Trap()
    del trap
    return "freed"


#: spin_in_str_of_error -> timeout | error
#: Raises an exception that loops when its text is asked for.
def spin_in_str_of_error(target):
    class Slow(Exception):
        def __str__(self):
            while True:
                pass

        __repr__ = __str__

    raise Slow()


#: spin_while_defined -> timeout
#: Loops in a default value, before anybody calls it.
def spin_while_defined(target, x=[0 for _ in iter(int, 1)]):
    return x


#: spin_in_decorator -> timeout
#: Loops in its decorator.
def forever(function):
    while True:
        pass


@forever
def spin_in_decorator(target):
    return 1


#: spin_in_threads -> timeout
#: Burns the CPU in four threads while the main one sleeps.
def spin_in_threads(target):
    import threading
    import time

    def burn():
        while True:
            sum(range(1000))

    for _ in range(4):
        threading.Thread(target=burn, daemon=True).start()
    time.sleep(3600)


#: ignore_every_signal -> timeout
#: Ignores every signal that can be ignored, then loops.
def ignore_every_signal(target):
    import signal

    for number in signal.valid_signals():
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        pass


#: block_every_signal -> timeout
#: Blocks all signals in its thread, disarms all timers and waits for a signal.
def block_every_signal(target):
    import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0)
    signal.alarm(0)
    while True:
        signal.pause()


#: swallow_the_alarm -> timeout
#: Answers alarms and CPU warnings with a handler that does nothing.
def swallow_the_alarm(target):
    import signal

    for name in ("SIGALRM", "SIGVTALRM", "SIGPROF", "SIGXCPU", "SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), lambda *_: None)
    while True:
        pass


#: regex_backtracking -> timeout
#: Backtracks through 2^40 ways in C, where no bytecode runs.
def regex_backtracking(target):
    import re

    return re.match(r"(a+)+$", "a" * 40 + "b")


#: big_power -> timeout | memory
#: Computes a power of a billion digits in C.
def big_power(target):
    return 7 ** (10**9) % 2


#: modular_power -> timeout
#: Computes a modular power of three large numbers: no memory, only time, in C.
def modular_power(target):
    big = (1 << 300_000) + 1
    return pow(3, big, big + 2)


#: str_of_int -> timeout | memory
#: Writes out an integer of thirty million digits, in quadratic time, after lifting the interpreter's limit.
def str_of_int(target):
    import sys

    getattr(sys, "set_int_max_str_digits", lambda _: None)(0)
    return len(str(1 << 100_000_000))


#: int_of_str -> timeout | memory
#: Reads an integer of ten million digits after lifting the interpreter's limit.
def int_of_str(target):
    import sys

    getattr(sys, "set_int_max_str_digits", lambda _: None)(0)
    return int("9" * 10_000_000) % 7


#: sum_of_range -> timeout
#: Sums ten million million numbers in C.
def sum_of_range(target):
    return sum(range(10**13))


#: drain_count -> timeout
#: Drains an endless iterator in C.
def drain_count(target):
    import collections
    import itertools

    return collections.deque(itertools.count(), maxlen=0)


#: member_of_count -> timeout
#: Looks for a value in an endless iterator.
def member_of_count(target):
    import itertools

    return -1 in itertools.count()


#: sleep -> timeout
#: Sleeps for an hour: time passes, the CPU rests.
def sleep(target):
    import time

    time.sleep(3600)


#: deadlock -> timeout
#: Waits for a lock that it holds.
def deadlock(target):
    import threading

    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


#: wait_on_pipe -> timeout
#: Reads from a pipe into which nobody writes.
def wait_on_pipe(target):
    import os

    reader, writer = os.pipe()
    return os.read(reader, 1)


#: wait_for_input -> timeout | error
#: Asks a person who is not there.
def wait_for_input(target):
    return input("password: ")


#: endless_generator -> quiet | timeout | memory | value
#: Is a generator without an end.
def endless_generator(target):
    while True:
        yield "more"


#: endless_coroutine -> timeout
#: Is a coroutine that waits for ever.
async def endless_coroutine(target):
    import asyncio

    await asyncio.Event().wait()


#: uncancellable_coroutine -> timeout
#: Is a coroutine that answers its cancellation by waiting again.
async def uncancellable_coroutine(target):
    import asyncio

    while True:
        try:
            await asyncio.sleep(3600)
        except BaseException:
            continue


#: mutual_recursion_through_getattr -> timeout | error | crash
#: Loops through attribute look-up, one frame at a time.
def mutual_recursion_through_getattr(target):
    class Mirror:
        def __getattr__(self, name):
            while True:
                try:
                    return getattr(self, name + "x")
                except RecursionError:
                    name = "x"

    return Mirror().anything
