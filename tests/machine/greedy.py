"""What a greedy client does, in the machine and from an address of its own: many requests under way at once, then many one
after the other."""

import socket
import ssl
import sys

CONTEXT = ssl._create_unverified_context()


def connect(source):
    plain = socket.create_connection(("127.0.0.1", 3002), 10, (source, 0))
    return CONTEXT.wrap_socket(plain, server_hostname="localhost")


def at_once(source, count):
    """Begins requests whose bodies do not come, so many or a few more, until one is answered. Prints its status."""
    under_way = []
    while len(under_way) < 3 * count:
        client = connect(source)
        client.sendall(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        under_way.append(client)
        for other in under_way:
            try:
                # Whoever sends nothing for a while is sent away, on a machine that is busy also meanwhile.
                other.sendall(b".")
            except OSError:
                pass
        if len(under_way) >= count:
            client.settimeout(2)
            try:
                print(client.recv(12).decode())
                return
            except TimeoutError:
                pass


def one_by_one(source, count):
    """Prints how many requests were told to wait."""
    client = connect(source)
    client.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n" * (count - 1))
    client.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    told = b""
    while part := client.recv(65536):
        told += part
    print(told.count(b"HTTP/1.1 429"))


{"at-once": at_once, "one-by-one": one_by_one}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
