//! Just enough of D-Bus to call a method whose arguments are strings and whose answer is a string or nothing: a
//! connection to a bus, the EXTERNAL handshake, method calls, answers. Everything else on the bus is passed over.
//! Wire format: the D-Bus specification, "Message Protocol".

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);
/// Answers to our calls are a few hundred bytes; a bus that sends more is not what we think.
const MAX_MESSAGE: usize = 1 << 20;
/// Signals that may come before an answer.
const MAX_SKIPPED: usize = 1000;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DbusError {
    /// No bus, or it stopped talking.
    #[error("talk to the system bus")]
    Io(#[from] io::Error),
    /// The called service refused.
    #[error("{0}")]
    Refused(String),
}

/// A method of an object of a service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method {
    pub(super) service: &'static str,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
    pub(super) member: &'static str,
}

/// A connection to a bus.
#[derive(Debug)]
pub(super) struct Bus {
    stream: BufReader<UnixStream>,
    serial: u32,
}

impl Bus {
    /// Connects as the calling process's user.
    pub(super) fn connect(path: &Path) -> Result<Self, DbusError> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut bus = Self {
            stream: BufReader::new(stream),
            serial: 0,
        };
        bus.authenticate()?;
        bus.call(
            Method {
                service: "org.freedesktop.DBus",
                path: "/org/freedesktop/DBus",
                interface: "org.freedesktop.DBus",
                member: "Hello",
            },
            &[],
        )?;
        Ok(bus)
    }

    /// Calls a method and gives the first string of the answer; empty when it has none.
    pub(super) fn call(&mut self, method: Method, arguments: &[&str]) -> Result<String, DbusError> {
        self.serial += 1;
        let message = encode(self.serial, method, arguments);
        self.stream.get_mut().write_all(&message)?;
        for _ in 0..MAX_SKIPPED {
            let answer = self.read_message()?;
            if answer.reply_to != Some(self.serial) {
                continue;
            }
            return match answer.kind {
                METHOD_RETURN => Ok(answer.text),
                ERROR => Err(DbusError::Refused(format!(
                    "{}: {}",
                    answer.error, answer.text
                ))),
                _ => Err(invalid().into()),
            };
        }
        Err(invalid().into())
    }

    /// The user's number in decimal digits, those as hexadecimal bytes.
    fn authenticate(&mut self) -> io::Result<()> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let digits: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        let hello = format!("\0AUTH EXTERNAL {digits}\r\n");
        self.stream.get_mut().write_all(hello.as_bytes())?;
        let mut line = String::new();
        (&mut self.stream).take(4096).read_line(&mut line)?;
        if !line.starts_with("OK ") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.stream.get_mut().write_all(b"BEGIN\r\n")
    }

    fn read_message(&mut self) -> io::Result<Answer> {
        let mut fixed = [0; 16];
        self.stream.read_exact(&mut fixed)?;
        let order = Order::of(fixed[0])?;
        let body = order.number(&fixed, 4)?;
        let fields = order.number(&fixed, 12)?;
        let length = fields.next_multiple_of(8).saturating_add(body);
        if length > MAX_MESSAGE {
            return Err(invalid());
        }
        let mut rest = vec![0; length];
        self.stream.read_exact(&mut rest)?;
        let (fields_bytes, body_bytes) = rest.split_at(fields.next_multiple_of(8));
        let mut answer = Answer {
            kind: fixed[1],
            ..Answer::default()
        };
        read_fields(
            order,
            fields_bytes.get(..fields).unwrap_or_default(),
            &mut answer,
        );
        if answer.has_text {
            answer.text = order.text(body_bytes, 0).unwrap_or_default();
        }
        Ok(answer)
    }
}

#[derive(Debug, Default)]
struct Answer {
    kind: u8,
    reply_to: Option<u32>,
    error: String,
    has_text: bool,
    text: String,
}

/// The byte order a message was written in.
#[derive(Debug, Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn of(mark: u8) -> io::Result<Self> {
        match mark {
            b'l' => Ok(Self::Little),
            b'B' => Ok(Self::Big),
            _ => Err(invalid()),
        }
    }

    fn number32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let value: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(value),
            Self::Big => u32::from_be_bytes(value),
        })
    }

    fn number(self, bytes: &[u8], at: usize) -> io::Result<usize> {
        let value = self.number32(bytes, at).ok_or_else(invalid)?;
        usize::try_from(value).map_err(|_| invalid())
    }

    fn text(self, bytes: &[u8], at: usize) -> Option<String> {
        let length = self.number(bytes, at).ok()?;
        let text = bytes.get(at + 4..(at + 4).checked_add(length)?)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

/// Header fields: an array of (code, variant), each at a multiple of eight.
fn read_fields(order: Order, bytes: &[u8], answer: &mut Answer) {
    let mut at = 0;
    while let (Some(code), Some(kind)) = (bytes.get(at), bytes.get(at + 2)) {
        // A variant: length 1, one letter, NUL; then the value at its alignment.
        let value = at + 4;
        let end = match kind {
            b's' | b'o' => {
                let Ok(length) = order.number(bytes, value) else {
                    return;
                };
                if *code == 4 {
                    answer.error = order.text(bytes, value).unwrap_or_default();
                }
                value.saturating_add(4 + 1).saturating_add(length)
            }
            b'g' => {
                let length = bytes.get(value).copied().unwrap_or_default();
                answer.has_text = bytes.get(value + 1) == Some(&b's');
                value + 2 + usize::from(length)
            }
            b'u' => {
                if *code == 5 {
                    answer.reply_to = order.number32(bytes, value);
                }
                value + 4
            }
            _ => return,
        };
        at = end.next_multiple_of(8);
    }
}

fn encode(serial: u32, method: Method, arguments: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for argument in arguments {
        push_text(&mut body, argument);
    }
    let mut fields = Vec::new();
    let texts = [
        (1, b'o', method.path),
        (2, b's', method.interface),
        (3, b's', method.member),
        (6, b's', method.service),
    ];
    for (code, kind, text) in texts {
        pad(&mut fields, 8);
        fields.extend([code, 1, kind, 0]);
        push_text(&mut fields, text);
    }
    if !arguments.is_empty() {
        pad(&mut fields, 8);
        fields.extend([8, 1, b'g', 0]);
        fields.push(u8::try_from(arguments.len()).unwrap_or_default());
        fields.extend(arguments.iter().map(|_| b's'));
        fields.push(0);
    }
    let mut message = vec![b'l', METHOD_CALL, 0, 1];
    push_length(&mut message, body.len());
    message.extend(serial.to_le_bytes());
    push_length(&mut message, fields.len());
    message.extend(fields);
    pad(&mut message, 8);
    message.extend(body);
    message
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    pad(bytes, 4);
    push_length(bytes, text.len());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

fn push_length(bytes: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("our own texts are short");
    bytes.extend(length.to_le_bytes());
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_call_is_encoded_as_the_specification_says() {
        let method = Method {
            service: "a.b",
            path: "/",
            interface: "a.b",
            member: "M",
        };
        let expected: &[u8] = b"l\x01\0\x01\x07\0\0\0\x09\0\0\0\x47\0\0\0\
            \x01\x01o\0\x01\0\0\0/\0\0\0\0\0\0\0\
            \x02\x01s\0\x03\0\0\0a.b\0\0\0\0\0\
            \x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0\
            \x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0\
            \x08\x01g\0\x01s\0\0\
            \x02\0\0\0hi\0";
        assert_eq!(encode(9, method, &["hi"]), expected);
    }

    /// A bus with one service: it says `trusted` for any argument `a`, nothing for `b`, and refuses the rest. A signal
    /// comes before each answer.
    fn fake_bus(listener: UnixListener) -> io::Result<()> {
        let (stream, _) = listener.accept()?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line)?;
        assert!(line.starts_with("\0AUTH EXTERNAL 30"), "{line}");
        stream.get_mut().write_all(b"OK 0123456789abcdef\r\n")?;
        line.clear();
        stream.read_line(&mut line)?;
        assert_eq!(line, "BEGIN\r\n");
        for serial in 1_u32.. {
            let mut fixed = [0; 16];
            if stream.read_exact(&mut fixed).is_err() {
                return Ok(());
            }
            let size = |at| Order::Little.number(&fixed, at).unwrap();
            let mut rest = vec![0; size(12).next_multiple_of(8) + size(4)];
            stream.read_exact(&mut rest)?;
            let body = rest.split_off(size(12).next_multiple_of(8));
            let (kind, text) = match body.get(4) {
                None => (METHOD_RETURN, ":1.7"),
                Some(b'a') => (METHOD_RETURN, "trusted"),
                Some(b'b') => (METHOD_RETURN, ""),
                Some(_) => (ERROR, "INVALID_INTERFACE"),
            };
            stream.get_mut().write_all(&answer(4, 0, "NameAcquired"))?;
            stream.get_mut().write_all(&answer(kind, serial, text))?;
        }
        Ok(())
    }

    fn answer(kind: u8, reply_to: u32, text: &str) -> Vec<u8> {
        let mut body = Vec::new();
        push_text(&mut body, text);
        let mut fields =
            b"\x04\x01s\0\x03\0\0\0a.b\0\0\0\0\0\x08\x01g\0\x01s\0\0\x05\x01u\0".to_vec();
        fields.extend(reply_to.to_le_bytes());
        let mut message = vec![b'l', kind, 0, 1];
        push_length(&mut message, body.len());
        message.extend(1_u32.to_le_bytes());
        push_length(&mut message, fields.len());
        message.extend(fields);
        pad(&mut message, 8);
        message.extend(body);
        message
    }

    #[test]
    fn calls_are_answered_and_signals_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        let bus = std::thread::spawn(move || fake_bus(listener));
        let method = Method {
            service: "a.b",
            path: "/",
            interface: "a.b",
            member: "M",
        };
        let mut client = Bus::connect(&path).unwrap();
        assert_eq!(client.call(method, &["a"]).unwrap(), "trusted");
        assert_eq!(client.call(method, &["b", "x"]).unwrap(), "");
        let refused = client.call(method, &["c"]).unwrap_err();
        assert_eq!(refused.to_string(), "a.b: INVALID_INTERFACE");
        drop(client);
        bus.join().unwrap().unwrap();
    }

    #[test]
    fn damaged_fields_end_the_reading() {
        for bytes in [
            &b""[..],
            b"\x05\x01u\0\x01",
            b"\x04\x01s\0\xff\xff\xff\xff",
            b"\x01\x01x\0",
        ] {
            let mut answer = Answer::default();
            read_fields(Order::Little, bytes, &mut answer);
            assert_eq!(answer.reply_to, None);
        }
    }
}
