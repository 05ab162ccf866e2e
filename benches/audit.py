#!/usr/bin/env python3
"""Has lynis and OpenSCAP judge an image from inside, and holds what they find against docs/hardening.md.

  benches/audit.py CONTENT [MODE...]    such as: benches/audit.py ssg-debian13-ds.xml safe full-pipe

CONTENT is OpenSCAP's content for Debian 13 with the profiles of CIS, which trixie's own package has not: ssg-debian 0.1.82 or
newer, from a later release of Debian, has it as usr/share/xml/scap/ssg/content/ssg-debian13-ds.xml. MODEs are both if none is
given. Exit status: 0 lynis gives at least 85 and no warning, and of CIS level 2 server exactly the rules fail that
docs/hardening.md lists; 1 that is not so; 2 there was no judgement.

Needs a release build of rave, a mirror once, and a gigabyte below $TMPDIR. Settings:

  RAVE=target/x86_64-unknown-linux-gnu/release/rave   the binary that builds and runs
  IMAGE=production                                    the image that is judged
  SUITES='lynis lynis-image openscap'                 some of these; lynis-image is lynis without what an image has not
  OUT=DIRECTORY                                       where what the suites said is kept, if anywhere

How it works. Both have to run in the machine, with programs that a hardened image does not ship. So another image extends the
judged one by them, in a project that is a copy of this one, with secrets of its own. Neither image has a database of packages,
without which most rules of CIS are not applicable; OpenSCAP finds one in /var that has the packages of the judged image, and
linux-base, by which it knows a machine from a container. Rules of level 1 are all among those of level 2, with the same
values, so one run tells of both.
"""
import collections
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

HERE = pathlib.Path(__file__).resolve().parent.parent
RAVE = os.path.realpath(os.environ.get("RAVE", HERE / "target/x86_64-unknown-linux-gnu/release/rave"))
IMAGE = os.environ.get("IMAGE", "production")
# Besides the suites and what they call: what lynis does not see without its programs, dm-verity and AppArmor.
AUDITED = f"""\
name: audited
version: 1.0.0
extends: {IMAGE}
config:
  system.packages: [apparmor, cryptsetup-bin, libxslt1.1, lynis, mawk, openscap-scanner]
"""
LEAST = 85
LEVELS = {"level 1 server": "cis_level1_server", "level 2 server": "cis_level2_server"}
XCCDF, ID = "{http://checklists.nist.gov/xccdf/1.2}", "xccdf_org.ssgproject.content_"

LYNIS = """
lynis audit system --quick --no-colors --logfile log --report-file report "$@" >out
cat report
"""
SUITES = {
    "lynis": (LYNIS,),
    "lynis-image": (LYNIS, "--profile", "image.prf"),
    "openscap": ("""
        mkdir -p /var/lib/dpkg
        cp status /var/lib/dpkg/
        oscap xccdf eval --progress --profile cis_level2_server --results results content.xml || [ $? = 2 ]
    """,),
}


class Failure(Exception):
    """There is no judgement."""


class Bench:
    """A project and its machine, in a directory of their own."""

    def __init__(self, work):
        self.work = work
        self.project = work / "project"
        for part in ("images", "modules", "qemu"):
            shutil.copytree(HERE / part, self.project / part)
        (self.project / "images/audited.yaml").write_text(AUDITED)
        # What is locked for the judged image stays locked.
        shutil.copy(HERE / f"images/{IMAGE}.lock", self.project / "images/audited.lock")
        places = {"XDG_STATE_HOME": "state", "XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "config"}
        self.environment = {**os.environ, **{name: str(work / place) for name, place in places.items()}}
        for place in places.values():
            (work / place).mkdir(mode=0o700)
        self.rave("lock", "audited")
        for image in (IMAGE, "audited"):
            self.rave("secrets", "init", image)

    def rave(self, *words, stdin=subprocess.DEVNULL):
        """What rave prints."""
        command = [RAVE, "--quiet", "--project", str(self.project), *words]
        ran = subprocess.run(command, stdin=stdin, capture_output=True, text=True, env=self.environment)
        if ran.returncode != 0:
            raise Failure(f"rave {' '.join(words[:3])}: {ran.stderr.strip() or ran.stdout.strip()}")
        return ran.stdout

    def inside(self, script, *words, stdin=subprocess.DEVNULL):
        return self.rave("vm", "ssh", "audited", "--", "sudo", "sh", "-ec", script, "sh", *words, stdin=stdin)

    def packages(self, mode):
        """The judged image's packages, as dpkg's database has them."""
        self.rave("build", IMAGE, "--mode", mode, "--output", str(self.work / mode))
        packages = json.loads((self.work / mode / "manifest.json").read_text())["packages"]
        status = self.work / "status"
        entry = "Package: {}\nStatus: install ok installed\nMaintainer: -\nArchitecture: amd64\nVersion: {}\nDescription: -\n\n"
        status.write_text("".join(entry.format(*package) for package in [*packages.items(), ("linux-base", "4")]))
        return status

    def judge(self, mode, content):
        """What each suite says."""
        status = self.packages(mode)
        keys = self.work / "config/sops/age/keys.txt"
        self.rave("run", "audited", "--mode", mode, "--detach", "--timeout", "600", "--identity", str(keys))
        try:
            self.inside("systemctl is-system-running --wait")
            files = {"image.prf": HERE / "benches/lynis.prf", "content.xml": content, "status": status}
            for name, path in files.items():
                with open(path, "rb") as file:
                    self.inside('mkdir -p -m 700 /var/audit; cat >"/var/audit/$1"', name, stdin=file)
            for suite in os.environ.get("SUITES", " ".join(SUITES)).split():
                script, *words = SUITES[suite]
                said = self.inside(f"cd /var/audit; {script}", *words)
                if "OUT" in os.environ:
                    pathlib.Path(os.environ["OUT"], f"{mode}-{suite}").write_text(said)
                yield suite, said
        finally:
            self.rave("vm", "rm", "--force", "audited")


def listed():
    """The rules that docs/hardening.md says may fail."""
    table = (HERE / "docs/hardening.md").read_text().partition("\n## Rules of CIS that fail\n")[2]
    return set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE))


def rules(content):
    """The version of the content, and the rules of each level."""
    tree = xml.parse(content)
    version = tree.find(f".//{XCCDF}Benchmark/{XCCDF}version").text
    profiles = {profile.get("id").removeprefix(f"{ID}profile_"): profile for profile in tree.iter(f"{XCCDF}Profile")}
    selects = {level: profiles[name].iterfind(f"{XCCDF}select[@selected='true']") for level, name in LEVELS.items()}
    return version, {level: {it.get("idref").removeprefix(f"{ID}rule_") for it in of} for level, of in selects.items()}


def lynis(about, report):
    """Tells of a report; whether its figure is high enough and nothing is a warning."""
    entries = [line.partition("=")[::2] for line in report.splitlines()]
    of = {name: [value.partition("|")[0] for key, value in entries if key == f"{name}[]"] for name in ("warning", "suggestion")}
    told = dict(entries)
    index, warnings = int(told["hardening_index"]), of["warning"]
    print(f"{about} {told['lynis_version']}: {index}; warnings: {' '.join(warnings) or 'none'}; suggestions:", *of["suggestion"], flush=True)
    return index >= LEAST and not warnings


def openscap(about, said, content):
    """Tells what came of the rules; whether those fail that may, and no others."""
    version, levels = rules(content)
    came = {rule.removeprefix(f"{ID}rule_"): result for rule, _, result in (line.rpartition(":") for line in said.split())}
    for level, of in levels.items():
        counts = collections.Counter(came[rule] for rule in of if rule in came)
        told = ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))
        print(f"{about}, ssg-debian {version}, CIS {level}: {told}", flush=True)
    may, fails = listed(), {rule for rule, result in came.items() if result in ("fail", "error", "unknown")}
    for what, some in (("fails, and is not listed", fails - may), ("is listed, and does not fail", may - fails)):
        for rule in sorted(some):
            print(f"{about}: {rule} {what}: {came.get(rule)}", flush=True)
    return fails == may


def main(content, *modes):
    well = True
    # Before an hour of work would be lost for want of it.
    if "OUT" in os.environ:
        os.makedirs(os.environ["OUT"], exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rave-audit.") as work:
        bench = Bench(pathlib.Path(work))
        for mode in modes or ("safe", "full-pipe"):
            for suite, said in bench.judge(mode, content):
                about = f"{mode}: {suite}"
                well &= openscap(about, said, content) if suite == "openscap" else lynis(about, said)
    return 0 if well else 1


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(__doc__, end="", file=sys.stderr)
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main(*sys.argv[1:]))
    except (OSError, KeyError, AttributeError, ValueError, xml.ParseError, Failure) as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        sys.exit(2)
