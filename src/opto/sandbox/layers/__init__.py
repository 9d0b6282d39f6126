"""What the operating system refuses to a worker, layer by layer.

May import the standard library. `confinement` puts the layers on; `namespaces`, `landlock` and `seccomp`
are single ones; `kernel` has the system calls that Python has no name for.
"""
