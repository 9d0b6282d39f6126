#: tcp -> error
#: Connects to a service on this machine.
def tcp(target):
    import socket

    with socket.create_connection(("127.0.0.1", target["tcp"]), timeout=2) as connection:
        connection.sendall(b"hello")
    return "escaped: sent"


#: tcp_without_waiting -> error | quiet
#: Starts a connection and does not wait for it.
def tcp_without_waiting(target):
    import socket

    connection = socket.socket()
    connection.setblocking(False)
    return connection.connect_ex(("127.0.0.1", target["tcp"]))


#: tcp_over_six -> error
#: Connects through an IPv6 address that stands for an IPv4 one.
def tcp_over_six(target):
    import socket

    with socket.socket(socket.AF_INET6) as connection:
        connection.settimeout(2)
        connection.connect(("::ffff:127.0.0.1", target["tcp"]))
    return "escaped: connected"


#: tcp_by_syscall -> error | quiet
#: Connects by the C library, past Python's hooks.
def tcp_by_syscall(target):
    import ctypes
    import socket
    import struct

    libc = ctypes.CDLL(None)
    address = struct.pack("=H", 2) + struct.pack("!H", target["tcp"]) + socket.inet_aton("127.0.0.1") + bytes(8)
    return "escaped: connected" if libc.connect(libc.socket(2, 1, 0), address, 16) == 0 else "refused"


#: tcp_fast_open -> error | quiet
#: Sends data with the first packet, without ever calling connect.
def tcp_fast_open(target):
    import socket

    with socket.socket() as connection:
        connection.settimeout(2)
        return connection.sendto(b"hello", 0x20000000, ("127.0.0.1", target["tcp"]))


#: udp -> error | quiet
#: Sends a datagram to a service on this machine.
def udp(target):
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        return sender.sendto(b"hello", ("127.0.0.1", target["udp"]))


#: udp_by_message -> error | quiet
#: Sends a datagram with sendmsg.
def udp_by_message(target):
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        return sender.sendmsg([b"hello"], [], 0, ("127.0.0.1", target["udp"]))


#: dns -> error
#: Resolves a name, which tells a stranger's name server something.
def dns(target):
    import socket

    return "escaped: " + str(socket.getaddrinfo("localhost", target["udp"]))


#: dns_packet -> error | quiet
#: Sends a question to a name server by hand.
def dns_packet(target):
    import socket

    question = bytes.fromhex("abcd01000001000000000000") + b"\x06secret\x07example\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0.2)
        return sender.sendto(question, ("127.0.0.1", target["udp"]))


#: http -> error
#: Fetches a page.
def http(target):
    from urllib.request import urlopen

    return urlopen(f"http://127.0.0.1:{target['tcp']}/", timeout=2).read().decode()


#: http_with_secret_in_path -> error
#: Sends what it knows as the path of a page.
def http_with_secret_in_path(target):
    import http.client

    connection = http.client.HTTPConnection("localhost", target["tcp"], timeout=2)
    connection.request("GET", "/" + target["mark"])
    return "escaped: " + str(connection.getresponse().status)


#: asyncio_connection -> error
#: Connects in a coroutine.
async def asyncio_connection(target):
    import asyncio

    await asyncio.wait_for(asyncio.open_connection("127.0.0.1", target["tcp"]), 2)
    return "escaped: connected"


#: unix_socket -> error
#: Connects to a service by the path of its socket, as one talks to Docker.
def unix_socket(target):
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(target["unix"])
    return "escaped: connected"


#: unix_datagram -> error
#: Sends a datagram to a socket's path, as one talks to the system's log.
def unix_datagram(target):
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", target["unix"] + ".log")
    return "escaped: sent"


#: abstract_socket -> error
#: Connects to a socket that has a name but no file.
def abstract_socket(target):
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + target["abstract"])
    return "escaped: connected"


#: virtual_socket -> error
#: Makes a socket to the machine under this one (and leaves it alone).
def virtual_socket(target):
    import socket

    socket.socket(40, socket.SOCK_STREAM).close()
    return "escaped: made"


#: raw_socket -> error
#: Makes a socket that sees every packet.
def raw_socket(target):
    import socket

    with socket.socket(17, socket.SOCK_RAW, 0x0300) as sniffer:
        sniffer.setblocking(False)
        names = [name for _, name in socket.if_nameindex() if name != "lo"]
    return "escaped: sees " + str(names) if names else "sees nothing"


#: network_interfaces -> quiet | error
#: Lists the network cards.
def network_interfaces(target):
    import socket

    names = [name for _, name in socket.if_nameindex()]
    return "escaped: " + str(names) if any(name.startswith("e") for name in names) else names


#: serve -> error | quiet
#: Opens a door for others, and tells whether the service's port is taken here too.
def serve(target):
    import errno
    import socket

    with socket.socket() as door:
        try:
            door.bind(("127.0.0.1", target["tcp"]))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "escaped: on the host's network"
            raise
        door.listen()
    return "bound: so the service's port is free here"


#: serve_for_anybody -> timeout | error
#: Waits for visitors.
def serve_for_anybody(target):
    import http.server

    http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler).serve_forever()


#: inherited_sockets -> quiet | error | crash | timeout
#: Asks every socket that it was born with who is at the other end.
def inherited_sockets(target):
    import os
    import socket

    heard = []
    for number in range(3, 256):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=os.dup(number)) as connection:
                heard.append(str(connection.getpeername()) + str(connection.getsockname()))
        except OSError:
            continue
    return heard if not any(str(target["tcp"]) in name for name in heard) else "escaped: " + str(heard)


#: io_uring -> error | quiet
#: Sets up the ring through which a filter does not see system calls.
def io_uring(target):
    import ctypes

    parameters = ctypes.create_string_buffer(256)
    ring = ctypes.CDLL(None).syscall(425, 4, parameters)
    return "escaped: a ring" if ring >= 0 else "refused"


#: kernel_programs -> error | quiet
#: Asks for the kernel's own programs, page faults and key rings.
def kernel_programs(target):
    import ctypes

    libc, blank = ctypes.CDLL(None), ctypes.create_string_buffer(256)
    blank[0], blank[4], blank[8], blank[12] = 2, 4, 4, 1
    calls = {"bpf": (321, 0, blank, 72), "userfaultfd": (323, 0), "keyctl": (250, 0, -3, 0)}
    made = [name for name, call in calls.items() if libc.syscall(*call) >= 0]
    return "escaped: " + ", ".join(made) if made else "refused"
