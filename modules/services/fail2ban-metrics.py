"""How many addresses a jail keeps out, for Prometheus' node exporter. The names are those of fail2ban's usual exporter."""

import os

from fail2ban.server.action import ActionBase


TEXT = """\
# HELP f2b_jail_banned_current Addresses that are kept out
# TYPE f2b_jail_banned_current gauge
f2b_jail_banned_current{jail="%s"} %d
# HELP f2b_jail_banned_total Addresses that have been kept out since the start
# TYPE f2b_jail_banned_total counter
f2b_jail_banned_total{jail="%s"} %d
"""


class Action(ActionBase):
    def __init__(self, jail, name, directory):
        super().__init__(jail, name)
        self.jail = jail.name
        self.path = os.path.join(directory, "fail2ban-%s.prom" % self.jail)
        self.current = self.total = 0

    def start(self):
        self.tell()

    def stop(self):
        os.unlink(self.path)

    def ban(self, info):
        self.current += 1
        # A ban that goes on after a start was counted before it.
        self.total += not info["restored"]
        self.tell()

    def unban(self, info):
        self.current -= 1
        self.tell()

    def tell(self):
        # Whoever reads it meanwhile finds the file before, whole.
        with open(self.path + ".new", "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(TEXT % (self.jail, self.current, self.jail, self.total))
        os.replace(self.path + ".new", self.path)
