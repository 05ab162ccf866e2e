#!/usr/bin/env python3
"""Has nmap scan a machine that rave runs, from a host beside it, and holds what answers against what may.

  benches/nmap.py MACHINE [PORT...]    such as: benches/nmap.py production 22 3002

MACHINE is one that was left running (`rave up --keep`, `rave run --detach`), by its name or its directory. All TCP ports and
the 200 of UDP that nmap takes for the most usual are asked, over IPv4 and IPv6. Open must be the TCP ports PORT and no other;
a port that is closed counts too, for the firewall let the question through. Exit status: 0 that is so, 1 it is not, 2 there
was no scan.

Needs root, Linux with /dev/net/tun, and `apt install iproute2 nmap util-linux`. Nothing else may talk to QEMU meanwhile, as
`rave check` and `rave vm fault` do.

How it works. The machine's card is on QEMU's user network, where a host would see forwarded ports only. So QEMU gets two
filters for the time of a scan, as `rave check` has them (docs/decisions/0015): one copies what the guest sends, the other
hands to its card what we send. Both end at a tap device in a network namespace with nothing else in it, which ends with this
program. What it leaves in QEMU when it is killed, its next run clears away.
"""
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as xml

# Addresses of ours in the networks of SLIRP, where neither it nor a check of rave has one, and those of the machine.
FAMILIES = {
    "IPv4": (["10.0.2.101/24"], ["10.0.2.15"]),
    "IPv6": (["fec0::101/64", "nodad"], ["-6", "fec0::5054:ff:fe12:3456"]),
}
# Where next to nothing answers, nmap would go slower and slower, and take hours.
PROTOCOLS = {
    "TCP": ["-sS", "-p-", "--min-rate", "3000", "--max-retries", "2"],
    "UDP": ["-sU", "--top-ports", "200", "--min-rate", "100", "--max-retries", "3"],
}
# What nmap calls a port from which nothing came.
SILENT = ("filtered", "open|filtered")

FILTERS, SOCKETS = ("nmap-mirror", "nmap-redirector"), ("nmap-out", "nmap-in")
TAP, CLONE_NEWNET, TUNSETIFF, IFF_TAP, IFF_NO_PI = "nmap0", 0x40000000, 0x400454CA, 0x0002, 0x1000
# QEMU's longest frame.
LONGEST = 4096 + 65536


class Failure(Exception):
    """There is no scan."""


class Monitor:
    """QEMU's monitor (QMP)."""

    def __init__(self):
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(30)
        line.connect("fault.sock")
        self.file = line.makefile("rwb")
        self.file.readline()
        self.call("qmp_capabilities")

    def call(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self.file.flush()
        for line in self.file:
            answer = json.loads(line)
            if "error" in answer:
                raise Failure(f"QEMU refuses {command}: {answer['error']['desc']}")
            if "return" in answer:
                return
        raise Failure("QEMU has ended")

    def unplug(self):
        for command, names in (("object-del", FILTERS), ("chardev-remove", SOCKETS)):
            for name in names:
                try:
                    self.call(command, id=name)
                except Failure:
                    pass  # It is not there.

    def socket(self, name):
        path = f"{name}.sock"
        address = {"type": "unix", "data": {"path": path}}
        backend = {"type": "socket", "data": {"server": True, "wait": False, "addr": address}}
        self.call("chardev-add", id=name, backend=backend)
        line = socket.socket(socket.AF_UNIX)
        line.connect(path)
        return line

    def plug(self):
        """Puts us on the wire; returns what the guest sends, and where what it is to get is written."""
        mirrored, out = (self.socket(name) for name in SOCKETS)
        mirror, redirector = FILTERS
        self.call("object-add", **{"qom-type": "filter-redirector"}, id=redirector, netdev="net", queue="tx", indev=SOCKETS[1])
        self.call("object-add", **{"qom-type": "filter-mirror"}, id=mirror, netdev="net", queue="rx", outdev=SOCKETS[0])
        return mirrored, out


def tap():
    """A tap device, up, in a network namespace of our own."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot have a network namespace")
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", TAP.encode(), IFF_TAP | IFF_NO_PI))
    for words in (["link", "set", TAP, "up"], *(["address", "add", *mine, "dev", TAP] for mine, _ in FAMILIES.values())):
        subprocess.run(["ip", *words], check=True)
    return device


def from_guest(mirrored, device, broken):
    """Each frame comes behind its length, four bytes, the greatest first. QEMU waits until it is read."""
    frames = mirrored.makefile("rb")
    while len(length := frames.read(4)) == 4 and struct.unpack(">I", length)[0] <= LONGEST:
        os.write(device, frames.read(struct.unpack(">I", length)[0]))
    broken.set()


def to_guest(device, out):
    while True:
        frame = os.read(device, LONGEST)
        out.sendall(struct.pack(">I", len(frame)) + frame)


def scan(protocol, family):
    """What answers, as pairs of a port and its state, or of how many ports there are and theirs."""
    command = ["nmap", "-n", "-Pn", "-T4", "-oX", "-", *PROTOCOLS[protocol], *FAMILIES[family][1]]
    start = time.monotonic()
    said = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
    seconds = time.monotonic() - start
    report = xml.fromstring(said)
    host = report.find("host")
    if host is None or report.find("runstats/finished[@exit='success']") is None:
        raise Failure("nmap did not come to its end")
    answers = [(int(port.get("portid")), port.find("state").get("state")) for port in host.iterfind("ports/port")]
    # Many that are in one state are only counted.
    crowds = [(f"{crowd.get('count')} ports", crowd.get("state")) for crowd in host.iterfind("ports/extraports")]
    asked = report.find("scaninfo").get("numservices")
    found = [answer for answer in answers + crowds if answer[1] not in SILENT]
    told = ", ".join(f"{port} {state}" for port, state in found) or "nothing"
    print(f"{protocol} over {family}: {asked} ports in {seconds:.0f} s; answers: {told}", flush=True)
    return found


def main(machine, *ports):
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    os.chdir(machine if "/" in machine else os.path.join(state, "rave/vms", machine))
    monitor, device, broken = Monitor(), tap(), threading.Event()
    monitor.unplug()
    try:
        mirrored, out = monitor.plug()
        for bridge in ((from_guest, mirrored, device, broken), (to_guest, device, out)):
            threading.Thread(target=bridge[0], args=bridge[1:], daemon=True).start()
        print(subprocess.run(["nmap", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split(" (")[0])
        found = {(protocol, family): scan(protocol, family) for protocol in PROTOCOLS for family in FAMILIES}
        if broken.is_set():
            raise Failure("the machine's wire broke, so silence tells nothing")
    finally:
        monitor.unplug()
    must = [(int(port), "open") for port in ports]
    return 0 if all(sorted(was, key=str) == sorted(must if of[0] == "TCP" else [], key=str) for of, was in found.items()) else 1


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(__doc__, end="", file=sys.stderr)
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main(*sys.argv[1:]))
    except (OSError, ValueError, subprocess.CalledProcessError, Failure) as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(2)
