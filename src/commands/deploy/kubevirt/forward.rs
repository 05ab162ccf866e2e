//! A way to ports of a pod: `kubectl port-forward`, which ends with the value.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::interrupt;
use crate::tool::Tool;

use super::super::super::{Failure, Result};

/// How long it may take until the ports are open.
const OPEN: Duration = Duration::from_secs(60);
/// How often an interruption is minded meanwhile.
const LOOK: Duration = Duration::from_millis(200);
/// How much of what went wrong is shown, in bytes.
const SAID: u64 = 4 << 10;

/// Ports of this host's loopback interface that lead to those of a pod.
pub struct Forward {
    child: Child,
    ports: BTreeMap<u16, u16>,
}

impl Forward {
    /// Opens them; `kubectl` has the cluster and the namespace.
    pub fn open(kubectl: &Tool, pod: &str, ports: &[u16]) -> Result<Self> {
        let pairs = ports.iter().map(|port| format!(":{port}"));
        let tool = kubectl.clone().args(["port-forward", "--address", "127.0.0.1", &format!("pod/{pod}")]).args(pairs);
        let child = tool.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.map_err(|error| Failure::error(format!("kubectl port-forward: {error}")))?;
        let mut forward = Self { child, ports: BTreeMap::new() };
        let (told, lines) = mpsc::channel();
        if let Some(stdout) = forward.child.stdout.take() {
            // It says a line for each connection later on, and must not wait for somebody to read it.
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                    drop(told.send(line));
                }
            });
        }
        let until = Instant::now() + OPEN;
        while forward.ports.len() < ports.len() {
            match lines.recv_timeout(LOOK) {
                Ok(line) => forward.ports.extend(pair(&line)),
                Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() < until && !interrupt::heard() => {}
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(Failure::error("kubectl port-forward did not open its ports in time"));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(forward.ended()),
            }
        }
        Ok(forward)
    }

    /// Where a port of the pod is reached.
    pub fn port(&self, port: u16) -> Result<u16> {
        let found = self.ports.get(&port).copied();
        found.ok_or_else(|| Failure::error(format!("kubectl port-forward did not open port {port}")))
    }

    fn ended(&mut self) -> Failure {
        let mut said = Vec::new();
        let read = self.child.stderr.take().map(|stderr| stderr.take(SAID).read_to_end(&mut said));
        let said = match read {
            Some(Err(error)) => error.to_string(),
            _ => String::from_utf8_lossy(&said).trim().to_owned(),
        };
        Failure::error(format!("kubectl port-forward: {said}"))
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // Fails if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Port of the pod and of this host, of `Forwarding from 127.0.0.1:41235 -> 22`.
fn pair(line: &str) -> Option<(u16, u16)> {
    let (from, to) = line.strip_prefix("Forwarding from 127.0.0.1:")?.split_once(" -> ")?;
    Some((to.trim().parse().ok()?, from.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_what_kubectl_says() {
        assert_eq!(pair("Forwarding from 127.0.0.1:41235 -> 22"), Some((22, 41235)));
        for line in [
            "",
            "Forwarding from [::1]:41235 -> 22",
            "Handling connection for 41235",
            "Forwarding from 127.0.0.1:x -> 22",
        ] {
            assert_eq!(pair(line), None, "{line}");
        }
    }

    #[test]
    fn a_program_that_ends_says_why() {
        let shell = |script: &str| Tool::new("sh").args(["-c", script, "sh"]);
        let told = |script: &str| Forward::open(&shell(script), "pod", &[22]).map(|forward| forward.ports.clone());
        assert_eq!(told("echo 'Forwarding from 127.0.0.1:4000 -> 22'; exec sleep 60").unwrap(), [(22, 4000)].into());
        let failure = told("echo 'pod not found' >&2; exit 1").unwrap_err();
        assert_eq!(failure.reason(), "kubectl port-forward: pod not found");
    }
}
