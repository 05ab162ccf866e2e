//! Prometheus, the node exporter, rave's console and its status page, and the browser that looks at them.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rave::disk;
use rave::sandbox::Sandbox;
use rave::tool::Tool;
use rave::tree::Content;
use serde_json::json;

use super::{RAVE, tree};

/// A program that ends with the test.
pub struct Running(Child);

impl Running {
    fn start(tool: &Tool) -> Self {
        Self(tool.command().stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if it has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A port that nobody has.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until somebody listens on a port of this machine.
pub fn wait_for(port: u16) {
    let end = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "nobody listens on port {port}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Everything that is looked at.
pub struct World {
    /// None ends it.
    pub prometheus: Option<Running>,
    others: Vec<Running>,
    /// Of Prometheus, the node exporter, the console and the status page.
    pub ports: [u16; 4],
    tools: Sandbox,
    // Goes when the programs that write to it have ended.
    work: tempfile::TempDir,
}

impl World {
    /// Starts them.
    pub fn new(tree: &Path) -> Self {
        let work = tempfile::tempdir().unwrap();
        let tools = Sandbox::new(tree).bind(work.path(), "/work", true).network(true).tmpfs("/run").tmpfs("/root");
        // The list of processors, without which the exporter's collector of them ends the exporter.
        let processors = "/sys/devices/system/cpu";
        let tools = tools.tmpfs("/sys").bind(processors, processors, false).executable(RAVE);
        let mut world = Self { prometheus: None, others: vec![], ports: [port(), port(), port(), port()], tools, work };
        let [prometheus, exporter, console, status] = world.ports;
        // What the modules put into a machine, as they put it there.
        let machine = tree::evaluate(&tree::project(), "machine").system;
        for (path, entry) in &machine.tree {
            let inside = path.as_str().strip_prefix("/usr/share/rave/");
            if let (Some(inside), Content::File(bytes)) = (inside, &entry.content) {
                let file = world.work.path().join(inside);
                disk::create_dir_all(file.parent().unwrap()).unwrap();
                disk::write_atomic(file, bytes, 0o644).unwrap();
            }
        }
        let config = machine.tree.iter().find(|(path, _)| path.as_str() == "/etc/rave/status.json");
        let Some(Content::File(config)) = config.map(|(_, entry)| &entry.content) else { panic!("no configuration") };
        disk::write_atomic(world.work.path().join("status.json"), config, 0o644).unwrap();
        let target = |name: &str, port: u16| json!({ "job_name": name, "static_configs": [{ "targets": [format!("127.0.0.1:{port}")] }] });
        let scrape = json!({
            "global": { "scrape_interval": "1s" },
            "scrape_configs": [target("prometheus", prometheus), target("node", exporter), target("dashboards", console)],
        });
        disk::write_atomic(world.work.path().join("prometheus.yml"), scrape.to_string().as_bytes(), 0o644).unwrap();
        // Those of the module that find what they need in a sandbox.
        let collectors = ["cpu", "diskstats", "loadavg", "meminfo", "netdev", "pressure", "stat", "time"];
        let exporter = world
            .tools
            .tool("/usr/bin/prometheus-node-exporter")
            .args(["--log.level=error", "--collector.disable-defaults"]);
        let exporter = exporter.args(collectors.map(|name| format!("--collector.{name}")));
        let listen = format!("--web.listen-address=127.0.0.1:{}", world.ports[1]);
        world.others.push(Running::start(&exporter.arg(listen)));
        world.start_prometheus();
        let listen = |port: u16| format!("--listen=127.0.0.1:{port}");
        let boards = format!("--boards={}", world.work.path().join("dashboards").display());
        let behind = format!("--prometheus=127.0.0.1:{prometheus}");
        let consoles = Tool::new(RAVE).args(["guest", "dashboards", &listen(console), &boards, &behind]);
        world.others.push(Running::start(&consoles));
        let config = format!("--config={}", world.work.path().join("status.json").display());
        world.others.push(Running::start(&Tool::new(RAVE).args(["guest", "status", &listen(status), &config])));
        world.ports.into_iter().for_each(wait_for);
        world
    }

    /// Starts Prometheus, which finds what it measured before.
    pub fn start_prometheus(&mut self) {
        let listen = format!("--web.listen-address=127.0.0.1:{}", self.ports[0]);
        let tool = self.tools.tool("/usr/bin/prometheus").args(["--config.file=/work/prometheus.yml", &listen]);
        self.prometheus = Some(Running::start(&tool.args([
            "--storage.tsdb.path=/work/data",
            "--query.max-concurrency=2",
            "--log.level=error",
        ])));
    }

    /// An address of the console.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports[2])
    }

    /// Starts the browser; returns it and where its tools listen.
    pub fn browser(&self) -> (Running, String) {
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-default-apps",
            "--disable-sync",
            "--no-proxy-server",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            "--user-data-dir=/tmp/profile",
            "--remote-debugging-port=0",
            "about:blank",
        ];
        let tool = self.tools.tool("/usr/lib/chromium/chromium").args(arguments).env("HOME", "/tmp");
        let mut child = tool.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let running = Running(child);
        let (mut said, mut line) = (String::new(), String::new());
        let address = loop {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the browser ended: {said}");
            if let Some(url) = line.trim().strip_prefix("DevTools listening on ws://") {
                break url.split('/').next().unwrap().to_owned();
            }
            said.push_str(&line);
        };
        // It must not wait for somebody to read what it says.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        (running, address)
    }
}
