//! The real binary: a configuration written for the test, started, watched and stopped by its id.

use super::{tools, wait_until};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The program under test.
pub const FUNNEL: &str = env!("CARGO_BIN_EXE_funnel");

/// Collects channels and keys, then starts the server on a free port.
pub struct Setup {
    folder: tempfile::TempDir,
    port: u16,
    listen: Vec<IpAddr>,
    tls: Option<[PathBuf; 2]>,
    top: String,
    channels: String,
}

impl Setup {
    pub fn new() -> Setup {
        let folder = tempfile::Builder::new()
            .prefix("funnel-test-")
            .tempdir()
            .expect("a temporary folder");
        // VLC runs as another user and must be able to pass through.
        open_to_all(folder.path());
        Setup {
            folder,
            port: free_port(),
            listen: vec![Ipv4Addr::LOCALHOST.into()],
            tls: None,
            top: String::new(),
            channels: String::new(),
        }
    }

    /// A folder of this test, removed at its end.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The port of MMS; those of HTTP and the like follow.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Listens on `[::1]` too, same port.
    pub fn listen_also_on_ipv6(&mut self) {
        self.listen.push(Ipv6Addr::LOCALHOST.into());
    }

    /// Listens on these addresses instead of `127.0.0.1`, all on one port.
    pub fn listen_on(&mut self, addresses: &[IpAddr]) -> &mut Setup {
        self.listen = addresses.to_vec();
        self
    }

    /// Listens for HTTPS, too, with this certificate and key.
    pub fn https(&mut self, certificate: &Path, key: &Path) -> &mut Setup {
        self.tls = Some([certificate.to_owned(), key.to_owned()]);
        self
    }

    /// Adds a whole table of the configuration as text, such as `[limits]` and its keys.
    pub fn table(&mut self, text: &str) -> &mut Setup {
        self.top.push_str(text);
        self.top.push('\n');
        self
    }

    /// Adds a channel whose keys are given as lines of TOML.
    pub fn channel(&mut self, name: &str, keys: &str) -> &mut Setup {
        let _ = writeln!(self.channels, "[channels.\"{name}\"]\n{keys}\n");
        self
    }

    /// A file played once, `speed` times as fast as it was meant, its clock started by the first viewer.
    pub fn file_once(&mut self, name: &str, path: &Path, speed: f32) -> &mut Setup {
        let path = path.display();
        self.channel(
            name,
            &format!(
                "source = {{ kind = \"file\", path = \"{path}\", loop = false, speed = {speed:?} }}\n\
                 start = \"first-viewer\""
            ),
        )
    }

    /// A file in a loop at its own speed, on air from the start.
    pub fn file_looped(&mut self, name: &str, path: &Path) -> &mut Setup {
        let path = path.display();
        self.channel(
            name,
            &format!(
                "source = {{ kind = \"file\", path = \"{path}\", loop = true }}\nstart = \"always\""
            ),
        )
    }

    /// A command that writes ASF to its standard output.
    pub fn command(&mut self, name: &str, run: &[&str], more: &str) -> &mut Setup {
        self.channel(
            name,
            &format!(
                "source = {{ kind = \"command\", run = {run:?} }}\nstart = \"always\"\n{more}"
            ),
        )
    }

    /// A channel on air from the start with this source, an inline table without its braces, and more keys as lines.
    pub fn source(&mut self, name: &str, source: &str, more: &str) -> &mut Setup {
        self.channel(
            name,
            &format!("source = {{ {source} }}\nstart = \"always\"\n{more}"),
        )
    }

    /// The configuration as it will be written.
    pub fn text(&self) -> String {
        let listen = |port: u16| -> Vec<String> {
            let addresses = self.listen.iter();
            addresses
                .map(|address| SocketAddr::new(*address, port).to_string())
                .collect()
        };
        let (mms, http) = (listen(self.port), listen(self.port + HTTP));
        let mut text = format!("[listen]\nmms = {mms:?}\nhttp = {http:?}\n");
        if let Some([certificate, key]) = &self.tls {
            let https = listen(self.port + HTTPS);
            let _ = writeln!(
                text,
                "https = {https:?}\n[tls]\ncertificate = {certificate:?}\nkey = {key:?}"
            );
        }
        format!("{text}\n{}\n{}", self.top, self.channels)
    }

    /// Writes the configuration and returns its path.
    pub fn write(&self) -> PathBuf {
        let path = self.folder().join("funnel.toml");
        std::fs::write(&path, self.text()).expect("the configuration is written");
        path
    }

    /// Starts `funnel serve` and returns when its port answers.
    pub fn start(self) -> Server {
        let path = self.write();
        let log = self.folder().join("server.log");
        let mut server = Server {
            child: spawn(&path, &log),
            address: SocketAddr::new(self.listen[0], self.port),
            log,
            config: path,
            folder: self.folder,
            stopped: false,
        };
        server.wait_for_answer();
        server
    }
}

/// Starts `funnel serve`; what it prints goes to the end of the file `log`.
fn spawn(config: &Path, log: &Path) -> Child {
    let mut file = std::fs::OpenOptions::new();
    let file = file.append(true).create(true).open(log);
    let file = file.expect("a log file");
    Command::new(FUNNEL)
        .arg("serve")
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a second handle of the log file"))
        .stderr(file)
        .spawn()
        .expect("the server starts")
}

/// A running server; stopped and its log shown when the test fails.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    config: PathBuf,
    folder: tempfile::TempDir,
    stopped: bool,
}

impl Server {
    /// Kills the process and starts it again with the same configuration; returns when its port answers.
    pub fn restart(&mut self) {
        self.child.kill().expect("the server runs");
        self.child.wait().expect("the server's end");
        // The kernel closes what a ring had a little later than the process.
        for address in [self.address, self.http_address()] {
            wait_until("the port is free again", Duration::from_secs(5), || {
                TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
            });
        }
        self.child = spawn(&self.config, &self.log);
        self.wait_for_answer();
    }

    fn wait_for_answer(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.address).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.stopped = true;
                panic!("the server ended at once ({status}):\n{}", self.log());
            }
            assert!(
                Instant::now() < deadline,
                "the server does not answer:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The first address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `mmst://` address of a channel: the form that means MMS over TCP to every player.
    pub fn mmst(&self, channel: &str) -> String {
        self.url("mmst", self.address.ip(), channel)
    }

    /// Address of a channel by a scheme that names the transport, at one of the addresses listened on.
    pub fn url(&self, scheme: &str, address: IpAddr, channel: &str) -> String {
        format!(
            "{scheme}://{}/{channel}",
            SocketAddr::new(address, self.port())
        )
    }

    /// Where it listens for HTTP.
    pub fn http_address(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), self.port() + HTTP)
    }

    /// `http://` address of a channel, or of a page.
    pub fn http_url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.http_address())
    }

    /// The same over TLS.
    pub fn https_url(&self, path: &str) -> String {
        let address = SocketAddr::new(self.address.ip(), self.port() + HTTPS);
        format!("https://{address}/{path}")
    }

    /// Everything the server has printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// A counter of all shards together, from the totals they write to the log at their end.
    pub fn total(&self, counter: &str) -> u64 {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains("totals"));
        let field = format!("{counter}=");
        let values =
            lines.filter_map(|line| line.split(' ').find_map(|word| word.strip_prefix(&field)));
        values
            .map(|value| value.parse::<u64>().expect("a number in the log"))
            .sum()
    }

    /// Open descriptors of the process.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .expect("the server runs")
            .count()
    }

    /// Processor time the process has used so far.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .expect("the server runs");
        let (_, after_name) = stat.rsplit_once(')').expect("a name in brackets");
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<u64>().expect("a number of ticks");
        // User and system time in ticks of USER_HZ, which is 100 on every Linux.
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the server runs");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("VmRSS in status");
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse::<u64>().ok())
            .expect("a number of KiB")
            * 1024
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the server's state").is_none()
    }

    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Stops all its threads until [`Server::resume`], as a machine does that is starved or moved.
    pub fn suspend(&self) {
        self.signal(libc::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        tools::signal(
            i32::try_from(self.child.id()).expect("a process id"),
            signal,
        );
    }

    /// Waits for the end of the process, at most `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        wait_until("the server ends", limit, || {
            status = self.child.try_wait().expect("the server's state");
            status.is_some()
        });
        self.stopped = true;
        status.expect("waited for it")
    }

    /// SIGTERM, and exit code 0 within the drain time.
    pub fn stop(self) {
        self.stop_then(|_| ());
    }

    /// As [`Server::stop`], then looks at what it left in its folder and its log before they go.
    pub fn stop_then(mut self, look: impl FnOnce(&Server)) {
        assert!(self.is_running(), "the server died:\n{}", self.log());
        self.terminate();
        let status = self.wait(Duration::from_secs(15));
        assert!(
            status.success(),
            "the server ended with {status}:\n{}",
            self.log()
        );
        assert!(
            !self.log().contains("panicked"),
            "a panic in the log:\n{}",
            self.log()
        );
        look(&self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.stopped {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(60);
            eprintln!(
                "--- the server's last lines\n{}\n---",
                lines[from..].join("\n")
            );
        }
    }
}

/// Runs `funnel` with these arguments to its end; at most 30 s.
pub fn funnel(arguments: &[&str]) -> super::player::Ran {
    let mut whole = vec![FUNNEL];
    whole.extend_from_slice(arguments);
    super::player::run(30, &whole)
}

/// Lets any user read and pass through the folder.
pub fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
        .expect("permissions of a temporary folder");
}

/// The first of [`PORTS`] free TCP ports below the range the kernel hands out, so that no outgoing connection takes one meanwhile.
pub fn free_port() -> u16 {
    let blocks = 12_000 / PORTS;
    loop {
        // Tests of one process ask at the same time, before any of them listens.
        let asked = std::process::id() + ASKED.fetch_add(1, Ordering::Relaxed);
        let block = u16::try_from(asked % u32::from(blocks)).expect("below 12,000");
        let first = 20_000 + block * PORTS;
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if (first..first + PORTS).all(is_free) {
            return first;
        }
    }
}

static ASKED: AtomicU32 = AtomicU32::new(0);

/// How far HTTP is from the port of MMS.
const HTTP: u16 = 1;
/// How far HTTPS is.
const HTTPS: u16 = 2;
/// How far the port for raw pushes is.
pub const PUSH: u16 = 3;
/// Ports a server may use.
const PORTS: u16 = 6;
