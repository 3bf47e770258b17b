//! A few lines of HTTP, enough to ask a server inside the test host, or the engine.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::TestHost;

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub body: String,
}

impl Response {
    /// The body read as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("not JSON: {error}: {}", self.body))
    }
}

/// One request (`GET /path`) on a connection of its own, 5 seconds at most.
///
/// # Errors
/// Whatever the connection says; a cut answer is an error.
pub fn http(address: &str, request: &str) -> io::Result<Response> {
    let address: SocketAddr = address.parse().expect("an address and a port");
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no whole answer"))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    Ok(Response {
        status,
        body: body.to_owned(),
    })
}

/// Sends bytes and returns the connection with what came up to the end of the headers.
#[track_caller]
pub fn open(host: &TestHost, request: &str) -> (UnixStream, String) {
    let mut stream = UnixStream::connect(host.socket()).expect("an engine listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time is taken");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).expect("it answers"), 1, "{request}");
        head.push(byte[0]);
    }
    (stream, String::from_utf8_lossy(&head).into_owned())
}

/// One call on a connection of its own: status and body.
#[track_caller]
pub fn call(host: &TestHost, method: &str, path: &str, body: &str) -> (u16, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (mut stream, head) = open(host, &request);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (
        status.expect("a status"),
        String::from_utf8_lossy(&rest).into_owned(),
    )
}
