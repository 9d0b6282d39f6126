#: grow_list -> memory
#: Doubles a list up to two gigabytes.
def grow_list(target):
    rows = [0] * 1024
    while len(rows) < 1 << 28:
        rows += rows
    return len(rows)


#: big_bytearray -> memory
#: Asks for two gigabytes at once, zeroed.
def big_bytearray(target):
    return len(bytearray(b"x") * (1 << 31))


#: big_string -> memory
#: Repeats a string to two gigabytes.
def big_string(target):
    return len("a" * (1 << 31))


#: padded_format -> memory
#: Lets a format width ask for two gigabytes.
def padded_format(target):
    return len("%*d" % ((1 << 31) - 100, 1))


#: grow_dict -> memory | timeout
#: Fills a dict with ten million long keys.
def grow_dict(target):
    return len({str(k) * 10: [k] * 10 for k in range(10_000_000)})


#: materialize_product -> memory | timeout
#: Turns a product of iterators into a list of a hundred million rows.
def materialize_product(target):
    import itertools

    return len(list(itertools.product(range(10), repeat=8)))


#: swallow_memory_error -> memory | timeout
#: Asks again and again after each MemoryError and keeps what it got.
def swallow_memory_error(target):
    kept = []
    for _ in range(100_000):
        try:
            kept.append(bytearray(b"x") * (1 << 24))
        except MemoryError:
            continue
        if len(kept) > 120:
            return "escaped: two gigabytes held"
    while True:
        pass


#: map_memory -> memory | error
#: Maps two gigabytes and touches every page.
def map_memory(target):
    import mmap

    with mmap.mmap(-1, 1 << 31) as pages:
        for at in range(0, 1 << 31, 4096):
            pages[at] = 1
    return "escaped: two gigabytes touched"


#: anonymous_file -> memory | error
#: Keeps its gigabytes in an anonymous file instead of its heap.
def anonymous_file(target):
    import os

    file = os.memfd_create("hoard")
    for _ in range(1 << 11):
        os.write(file, b"x" * (1 << 20))
    return "escaped: two gigabytes in a memfd"


#: anonymous_files -> memory | error
#: Keeps half a gigabyte in many anonymous files, each within the limit of a file.
def anonymous_files(target):
    import os

    for k in range(16):
        file = os.memfd_create(f"hoard{k}")
        for _ in range(32):
            os.write(file, b"x" * (1 << 20))
    return "escaped: half a gigabyte in memfds"


#: fill_pipes -> error | memory | quiet
#: Stores bytes in the buffers of as many pipes as it can open.
def fill_pipes(target):
    import os

    stored = 0
    for _ in range(5000):
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        stored += os.write(writer, b"x" * 65536)
    return f"escaped: {stored} bytes in pipes"


#: decompress_bomb -> memory | timeout
#: Unfolds two megabytes into two gigabytes.
def decompress_bomb(target):
    import zlib

    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1 << 9)) + packer.flush()
    return len(b"".join(zlib.decompress(bomb) for _ in range(4)))


#: recursion -> error
#: Calls itself without an end.
def recursion(target):
    return recursion(target) + 1


#: recursion_unlimited -> error | crash | memory | timeout
#: Lifts the recursion limit and calls itself until the stack ends.
def recursion_unlimited(target):
    import sys

    sys.setrecursionlimit(10**9)

    def down(n):
        return down(n + 1) + 1

    return down(0)


#: recursion_in_c -> error | crash | memory | timeout
#: Recurses through C functions, which eat the machine's stack.
def recursion_in_c(target):
    import sys

    sys.setrecursionlimit(10**9)

    class Loop:
        def __repr__(self):
            return repr([self])

    return repr(Loop())


#: recursion_on_small_stack -> crash | error | memory | timeout
#: Recurses in a thread with a tiny stack, to meet its guard page.
def recursion_on_small_stack(target):
    import sys
    import threading

    sys.setrecursionlimit(10**9)
    threading.stack_size(32768)

    def down(n):
        return sorted([n], key=lambda k: down(k + 1))

    thread = threading.Thread(target=down, args=(0,))
    thread.start()
    thread.join()
    return "survived"


#: free_deep_tuple -> error | crash | memory | quiet | timeout
#: Frees a chain of ten million links, one inside the other.
def free_deep_tuple(target):
    chain = None
    for _ in range(1_000_000):
        chain = (chain,)
    del chain
    return "freed"


#: compile_deep_source -> error | crash | memory
#: Hands the compiler a hundred thousand open brackets.
def compile_deep_source(target):
    return compile("(" * 100_000 + ")" * 100_000, "deep", "eval")


#: compile_wide_source -> error | memory | crash | timeout
#: Hands the compiler an expression that folds to a huge constant, and a wide one.
def compile_wide_source(target):
    return eval("[" + ",".join(["(1,)*100000"] * 100_000) + "]") and "escaped: ten thousand million"


#: compile_regex_bomb -> memory | timeout | error
#: Nests repeats so that the compiled pattern explodes.
def compile_regex_bomb(target):
    import re

    pattern = "a"
    for _ in range(6):
        pattern = "(?:" + "|".join([pattern + str(k) for k in range(20)]) + ")"
    return bool(re.compile(pattern))


#: thread_bomb -> error | memory | timeout | crash
#: Starts three thousand threads that wait.
def thread_bomb(target):
    import threading

    release = threading.Event()
    for _ in range(3000):
        threading.Thread(target=release.wait, daemon=True).start()
    release.set()
    return "escaped: three thousand threads"


#: thread_bomb_on_small_stacks -> error | memory | timeout | crash
#: Starts five hundred threads on the smallest of stacks, which no limit of memory stops.
def thread_bomb_on_small_stacks(target):
    import threading

    release = threading.Event()
    threading.stack_size(32768)
    for _ in range(500):
        threading.Thread(target=release.wait, daemon=True).start()
    release.set()
    return "escaped: five hundred threads"


#: open_everything -> error | quiet
#: Opens descriptors until none are left.
def open_everything(target):
    import os

    kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(15_000)]
    for file in kept:
        os.close(file)
    return "escaped: fifteen thousand open files"


#: raise_limits -> error
#: Lifts its own limits and then takes two gigabytes.
def raise_limits(target):
    import resource

    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE):
        resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY) if kind != 7 else (1 << 16, 1 << 16))
    return f"escaped: {len(bytearray(b'x') * (1 << 31))} bytes"


#: raise_limits_by_prlimit -> error
#: Lifts its limits with prlimit on its own id.
def raise_limits_by_prlimit(target):
    import os
    import resource

    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(os.getpid(), resource.RLIMIT_AS, unlimited)
    resource.prlimit(os.getpid(), resource.RLIMIT_CPU, unlimited)
    return "escaped: no limits"
