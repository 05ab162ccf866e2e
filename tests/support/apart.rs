//! A process tree of its own: namespaces, a network with nothing but a loopback interface, and a branch of control groups
//! that goes with it.

use std::path::Path;

use rave::tool::Tool;

/// Arguments: where control groups are mounted, the script of the first process, and what that is given.
const BRANCH: &str = r#"
set -eu
groups=$1
shift
mount -t cgroup2 cgroup2 "$groups"
branch="$groups/rave-test-$$"
mkdir "$branch"
sh -euc 'branch=$1 script=$2; shift 2; echo $$ >"$branch/cgroup.procs"
  exec unshare --cgroup --mount --pid --net --uts --ipc --fork --kill-child sh -euc "$script" sh "$@"' sh "$branch" "$@" &
world=$!
# Its processes do not hear who interrupts the test.
trap 'kill -KILL "$world"' INT TERM
while kill -0 "$world" 2>&-; do wait "$world" && status=0 || status=$?; done
until grep -q "^populated 0" "$branch/cgroup.events"; do sleep 0.1; done
find "$branch" -depth -type d -exec rmdir {} +
exit $status
"#;

/// A shell that is the first process there; the tool's further arguments are those of the script, and its status that of the
/// script. Its child makes the namespaces: all of them end with that. `groups` is an empty directory. Needs root.
pub fn apart(groups: &Path, script: &str) -> Tool {
    Tool::new("unshare").args(["--mount", "sh", "-c", BRANCH, "sh"]).arg(groups).arg(script)
}
