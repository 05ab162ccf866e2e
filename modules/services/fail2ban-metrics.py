"""How many addresses a jail keeps out, for Prometheus' node exporter. The names are those of fail2ban's usual exporter."""

import os
import threading

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
    # The jail compares it, to tell actions that have lost their bans; this one has none to lose.
    banEpoch = 0

    def __init__(self, jail, name, directory):
        super().__init__(jail, name)
        self.jail = jail.name
        self.path = os.path.join(directory, "fail2ban-%s.prom" % self.jail)
        # Of the jail's thread and of those that do what an administrator says.
        self.lock = threading.Lock()
        self.current = self.total = 0

    def start(self):
        self.count(0, 0)

    def stop(self):
        os.unlink(self.path)

    def ban(self, info):
        # A ban that goes on after a start was counted before it.
        self.count(1, not info["restored"])

    def reban(self, info):
        pass

    def unban(self, info):
        self.count(-1, 0)

    # With these the action goes on when the configuration is read again.
    def reload(self, **_):
        pass

    def clearAllParams(self):
        pass

    def count(self, current, total):
        with self.lock:
            self.current += current
            self.total += total
            # Whoever reads it meanwhile finds the file before, whole.
            with open(self.path + ".new", "w", encoding="ascii") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(TEXT % (self.jail, self.current, self.jail, self.total))
            os.replace(self.path + ".new", self.path)
