//! Registries for tests: Debian's `docker-registry` on loopback, and a server that says whatever a test wants.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests; each binary uses its own part"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use hoist_api::Digest;

/// The program of Debian's package.
const PROGRAM: &str = "/usr/bin/docker-registry";

/// A real registry with an empty store.
pub struct RealRegistry {
    child: Child,
    pub place: tempfile::TempDir,
    pub host: String,
}

#[derive(Default)]
pub struct Settings {
    /// `name:password`.
    pub user: Option<&'static str>,
    pub tls: bool,
    /// Whether clients have to show the registry's own certificate.
    pub clients: bool,
}

impl RealRegistry {
    /// Starts one; none, with a printed reason, when the package is missing.
    pub fn start(settings: &Settings) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            assert!(std::env::var_os("CI").is_none(), "nothing is skipped in CI");
            eprintln!("skipped: {PROGRAM} is not installed (make tools)");
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        let shown = place.path().display();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {shown}/data}}, delete: {{enabled: true}}}}\n"
        );
        config += "http:\n  addr: 127.0.0.1:0\n";
        if settings.tls {
            make_certificate(place.path());
            let clients = if settings.clients {
                format!(", clientcas: [{shown}/cert.pem]")
            } else {
                String::new()
            };
            config += &format!(
                "  tls: {{certificate: {shown}/cert.pem, key: {shown}/key.pem{clients}}}\n"
            );
        }
        if let Some(user) = settings.user {
            let (name, password) = user.split_once(':').unwrap();
            let output = Command::new("htpasswd")
                .args(["-Bbn", name, password])
                .output();
            std::fs::write(place.path().join("htpasswd"), output.unwrap().stdout).unwrap();
            config += &format!("auth: {{htpasswd: {{realm: test, path: {shown}/htpasswd}}}}\n");
        }
        std::fs::write(place.path().join("config.yml"), config).unwrap();
        let mut child = Command::new(PROGRAM)
            .arg("serve")
            .arg(place.path().join("config.yml"))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let port = listening_port(&mut child);
        Some(Self {
            child,
            place,
            host: format!("127.0.0.1:{port}"),
        })
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the line that says where the registry listens; the rest of its log is thrown away.
fn listening_port(child: &mut Child) -> u16 {
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    loop {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the registry ended");
        if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return digits.parse().unwrap();
        }
    }
}

/// `cert.pem` and `key.pem` for 127.0.0.1, signed by themselves.
pub fn make_certificate(place: &Path) {
    let status = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=registry.test",
            "-addext",
            "subjectAltName=DNS:registry.test,IP:127.0.0.1",
        ])
        .arg("-keyout")
        .arg(place.join("key.pem"))
        .arg("-out")
        .arg(place.join("cert.pem"))
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

/// What a test's server is asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A server whose answers are raw bytes; each ends its connection.
pub struct FakeRegistry {
    pub host: String,
    pub asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeRegistry {
    pub fn start(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut stream = stream;
                    if let Some(asked) = read_request(&mut stream) {
                        log.lock().unwrap().push(asked.clone());
                        answer(&asked, &mut stream);
                        let _ = stream.shutdown(Shutdown::Write);
                        // A reset would take the answer with it.
                        let _ = stream.read(&mut [0]);
                    }
                });
            }
        });
        Self { host, asked }
    }

    /// The requests so far as `METHOD path`, without the ping.
    pub fn lines(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let lines = asked
            .iter()
            .map(|asked| format!("{} {}", asked.method, asked.path));
        lines.filter(|line| line != "GET /v2/").collect()
    }
}

fn read_request(stream: &mut TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    // A TLS greeting is no request.
    if !path.starts_with('/') && !path.starts_with("http") && method != "CONNECT" {
        return None;
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked {
        method,
        path,
        headers,
        body,
    })
}

/// An answer with a length.
pub fn say(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

/// An image of uncompressed layers: its configuration and its manifest.
pub fn image_of(layers: &[&[u8]]) -> [Vec<u8>; 2] {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids.iter().map(Digest::as_str).collect::<Vec<_>>()},
    });
    let config = config.to_string().into_bytes();
    let describe = |blob: &[u8]| {
        serde_json::json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": Digest::of(blob).as_str(),
            "size": blob.len(),
        })
    };
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": describe(&config),
        "layers": layers.iter().map(|layer| describe(layer)).collect::<Vec<_>>(),
    });
    [config, manifest.to_string().into_bytes()]
}
