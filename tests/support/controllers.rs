//! A kernel that limits containers, or does not, whatever this one does.

/// The controllers of control groups by which it does.
pub const LIMITING: &str = "cpu memory pids";

/// Arguments: the controllers, a program and what that is given. A kernel with control groups of the first version has no
/// such file.
const SHOWN: &str = r#"
file=/sys/fs/cgroup/cgroup.controllers
shown=$(mktemp)
echo "$1" >"$shown"
shift
[ -e "$file" ] || { mount -t tmpfs tmpfs /sys/fs/cgroup; : >"$file"; }
mount --bind "$shown" "$file"
rm "$shown"
exec "$@"
"#;

/// The beginning of a command that sees these controllers, and nobody else does. What it runs follows. Needs root.
pub fn with_controllers(controllers: &str) -> [&str; 7] {
    ["unshare", "--mount", "sh", "-ec", SHOWN, "sh", controllers]
}
