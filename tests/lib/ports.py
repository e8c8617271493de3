"""Ports for servers that keep theirs while they are down: nobody else is given one of them.

They lie below those that the kernel gives to clients (ip_local_port_range). Each process that runs
tests takes a block of them for as long as it lives, by an abstract socket with the block's name;
lib/free_port.c shares the blocks."""

import os
import socket
import threading

FIRST, BLOCK, BLOCKS = 10000, 250, 88


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


class Ports:
    """A block's ports in turn: one that was given comes again only after all the others."""

    def __init__(self):
        self.lock = threading.Lock()
        self.claim = socket.socket(socket.AF_UNIX)
        self.first = FIRST + BLOCK * self.take_block()
        self.given = 0

    def take_block(self):
        for number in range(BLOCKS):
            block = (os.getpid() + number) % BLOCKS
            try:
                self.claim.bind(f"\0tidings-test-ports-{block}")
                return block
            except OSError:
                continue
        raise AssertionError(f"{BLOCKS} processes that run tests have all blocks of ports")

    def next(self):
        with self.lock:
            for _ in range(BLOCK):
                port = self.first + self.given % BLOCK
                self.given += 1
                if is_free(port):
                    return port
        raise AssertionError(f"the {BLOCK} ports from {self.first} on are all taken")


ports = Ports()


def free_port():
    return ports.next()
