"""moto's server, with snapshots that are pending until they are completed, as Amazon's are: moto's own EC2 calls them
completed from their first byte on."""

import sys

from moto.ebs.models import EBSBackend
from moto.server import main

started, completed = EBSBackend.start_snapshot, EBSBackend.complete_snapshot


def start_snapshot(self, *args, **more):
    made = started(self, *args, **more)
    self.ec2_backend.snapshots[made.snapshot_id].status = "pending"
    return made


def complete_snapshot(self, snapshot_id):
    self.ec2_backend.snapshots[snapshot_id].status = "completed"
    return completed(self, snapshot_id)


EBSBackend.start_snapshot, EBSBackend.complete_snapshot = start_snapshot, complete_snapshot
main(sys.argv[1:])
