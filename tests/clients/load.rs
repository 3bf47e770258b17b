//! Many clients at once, impatient and stuck ones: no error, no wrong answer, and nothing of them is left in the engine.
//!
//! `HOIST_LOAD_SECONDS=120` makes the 200 clients go on for two minutes (`make load`); otherwise each leads a few lives.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::protocol::{call, created, open};
use crate::common::{TestHost, can_run, wait_until};

const CLIENTS: usize = 200;
/// Lives of each client when no time is given.
const LIVES: usize = 2;

fn seconds(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What a process has of descriptors, threads, and resident memory in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    pub(crate) memory: usize,
}

pub(crate) fn held(pid: u32) -> Held {
    let count = |what: &str| {
        let entries = std::fs::read_dir(format!("/proc/{pid}/{what}"));
        entries.expect("the engine lives").count()
    };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the engine lives");
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Held {
        descriptors: count("fd"),
        threads: count("task"),
        memory: memory.expect("the kernel counts"),
    }
}

/// One call on a connection of its own; the body with its chunks joined.
pub(crate) fn ask(
    socket: &Path,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, Vec<u8>), String> {
    use std::io::Write as _;
    let fail = |what: &str, error: std::io::Error| format!("{method} {path}: {what}: {error}");
    let mut stream = UnixStream::connect(socket).map_err(|error| fail("connect", error))?;
    let _ = stream.set_read_timeout(Some(Duration::from_secs(120)));
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .map_err(|error| fail("write", error))?;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .map_err(|error| fail("read", error))?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(|| format!("{method} {path}: cut headers"))?;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    let body = &answer[end + 4..];
    let body = match head.contains("transfer-encoding: chunked") {
        true => joined(body).ok_or_else(|| format!("{method} {path}: cut chunks"))?,
        false => body.to_vec(),
    };
    Ok((status.ok_or_else(|| format!("no status: {head}"))?, body))
}

fn joined(mut chunked: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = chunked.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&chunked[..line]).ok()?, 16).ok()?;
        let piece = chunked.get(line + 2..line + 2 + length)?;
        if length == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(piece);
        chunked = chunked.get(line + 4 + length..)?;
    }
}

/// A container from its creation to its removal, with every answer looked at.
fn life(socket: &Path, name: &str, code: usize) -> Result<(), String> {
    let expect = |status: u16, method: &str, path: &str, body: &str| {
        let (got, said) = ask(socket, method, path, body)?;
        match got == status {
            true => Ok(said),
            false => Err(format!(
                "{method} {path}: {got} instead of {status}: {}",
                String::from_utf8_lossy(&said)
            )),
        }
    };
    let value = |bytes: Vec<u8>| -> Result<Value, String> {
        serde_json::from_slice(&bytes).map_err(|error| format!("{name}: {error}"))
    };
    let same = |what: &str, got: &Value, want: Value| match *got == want {
        true => Ok(()),
        false => Err(format!("{name}: {what} is {got}, not {want}")),
    };
    let line = format!("echo I am {name}; echo not {name} >&2; exit {code}");
    let asked = json!({"Image": "busybox", "Cmd": ["sh", "-c", line], "Labels": {"load": name}});
    let path = format!("/containers/create?name={name}");
    let made = value(expect(201, "POST", &path, &asked.to_string())?)?;
    let id = made["Id"].as_str().ok_or("no id")?;
    expect(204, "POST", &format!("/containers/{name}/start"), "")?;
    let ended = value(expect(200, "POST", &format!("/containers/{id}/wait"), "")?)?;
    same("the exit code", &ended["StatusCode"], json!(code))?;
    let logs = expect(200, "GET", &format!("/containers/{name}/logs?stdout=1"), "")?;
    let said = format!("I am {name}\n");
    let mut frame = vec![1, 0, 0, 0, 0, 0, 0, u8::try_from(said.len()).unwrap_or(0)];
    frame.extend_from_slice(said.as_bytes());
    same("the log", &json!(logs), json!(frame))?;
    let state = value(expect(200, "GET", &format!("/containers/{name}/json"), "")?)?;
    same("the name", &state["Name"], json!(format!("/{name}")))?;
    same("the id", &state["Id"], json!(id))?;
    same("the state", &state["State"]["Status"], json!("exited"))?;
    let filters = format!("%7B%22label%22%3A%5B%22load%3D{name}%22%5D%7D");
    let listed = value(expect(
        200,
        "GET",
        &format!("/containers/json?all=1&filters={filters}"),
        "",
    )?)?;
    same(
        "the list",
        &json!(listed.as_array().map(Vec::len)),
        json!(1),
    )?;
    expect(204, "DELETE", &format!("/containers/{name}"), "")?;
    expect(404, "GET", &format!("/containers/{name}/json"), "")?;
    Ok(())
}

/// Lets all clients live, and returns how many lives there were.
fn lives(host: &TestHost, round: usize, until: Option<Instant>) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let client = |number: usize| {
        let (socket, count) = (host.socket(), count.clone());
        std::thread::spawn(move || {
            for turn in 0.. {
                let done = until.map_or(turn >= LIVES, |until| Instant::now() >= until);
                if done {
                    return Ok(());
                }
                life(
                    &socket,
                    &format!("load-{round}-{number}-{turn}"),
                    number % 7,
                )?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, String>(())
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let failures: Vec<String> = clients
        .into_iter()
        .filter_map(|client| client.join().expect("a client does not panic").err())
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {CLIENTS} clients failed: {:#?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    count.load(Ordering::Relaxed)
}

#[test]
fn two_hundred_clients_leave_nothing_behind() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let pid = host.engine_pid().expect("an engine runs");
    let until = |share: u64| {
        let seconds = seconds("HOIST_LOAD_SECONDS")?;
        Some(Instant::now() + Duration::from_secs(seconds * share / 4))
    };
    let before = held(pid);
    // What a first rush leaves in caches and the allocator's pools is no leak; what a second one adds is.
    let first = lives(&host, 1, until(1));
    let rushed = held(pid);
    let second = lives(&host, 2, until(3));
    let after = held(pid);
    eprintln!("{first} and {second} lives; {before:?}, {rushed:?}, {after:?}");
    assert!(first >= CLIENTS && second >= CLIENTS, "{first} {second}");
    wait_until(
        Duration::from_secs(60),
        "threads and descriptors go",
        || {
            let now = held(pid);
            now.descriptors <= before.descriptors + 2 && now.threads <= before.threads + 4
        },
    );
    let per_life = after.memory.saturating_sub(rushed.memory) * 1024 / second;
    assert!(
        per_life < 8 << 10 || after.memory < rushed.memory + rushed.memory / 4,
        "{per_life} bytes a life: {rushed:?}, then {after:?}"
    );
    let (_, left) = call(&host, "GET", "/containers/json?all=1", "");
    assert!(left.contains("[]"), "{left}");
}

#[test]
fn stuck_readers_of_logs_hold_no_threads() {
    if !can_run() {
        return;
    }
    const READERS: usize = 300;
    let host = TestHost::with_busybox();
    // More than sockets' buffers take.
    let long = "i=0; while [ $i -lt 40 ]; do head -c 131072 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done; echo end; sleep 1000";
    let id = created(
        &host,
        &json!({"Image": "busybox", "Cmd": ["sh", "-c", long]}),
    );
    assert_eq!(
        call(&host, "POST", &format!("/containers/{id}/start"), "").0,
        204
    );
    let tail = format!("/containers/{id}/logs?stdout=1&tail=1");
    wait_until(Duration::from_secs(30), "all is written", || {
        call(&host, "GET", &tail, "").1.contains("end")
    });
    let pid = host.engine_pid().expect("an engine runs");
    let before = held(pid);
    let request =
        format!("GET /containers/{id}/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut readers: Vec<_> = (0..READERS).map(|_| open(&host, &request).0).collect();
    // They have their headers and read no further.
    wait_until(Duration::from_secs(60), "no reader holds a thread", || {
        held(pid).threads < before.threads + READERS / 10
    });
    assert_eq!(call(&host, "GET", "/system/df", "").0, 200);
    // One that goes on gets all of it.
    let mut reader = readers.pop().expect("there are some");
    let (mut buffer, mut seen, mut tail) = (vec![0; 1 << 16], 0, Vec::new());
    while !tail.windows(4).any(|four| four == b"end\n") {
        let length = reader.read(&mut buffer).expect("it goes on");
        assert_ne!(length, 0, "cut after {seen} bytes");
        seen += length;
        tail = buffer[..length].to_vec();
    }
    assert!(seen > 40 * 131_072, "{seen} bytes");
    drop(readers);
    wait_until(
        Duration::from_secs(30),
        "descriptors are given back",
        || held(pid).descriptors <= before.descriptors + 2,
    );
    call(&host, "POST", &format!("/containers/{id}/kill"), "");
}

#[test]
fn hundreds_of_stuck_readers_of_archives_keep_nobody_waiting() {
    if !can_run() {
        return;
    }
    const READERS: usize = 400;
    let host = TestHost::with_busybox();
    let id = created(
        &host,
        &json!({"Image": "busybox", "Cmd": ["sh", "-c", "head -c 8388608 /dev/zero >/big; sleep 1000"]}),
    );
    let start = format!("/containers/{id}/start");
    assert_eq!(call(&host, "POST", &start, "").0, 204);
    let size = format!("/containers/{id}/json?size=1");
    wait_until(Duration::from_secs(30), "the file is written", || {
        call(&host, "GET", &size, "")
            .1
            .contains(r#""SizeRw":8388608"#)
    });
    let pid = host.engine_pid().expect("an engine runs");
    let before = held(pid);
    let paths = [
        format!("/containers/{id}/export"),
        format!("/containers/{id}/archive?path=/big"),
        "/images/busybox/get".to_owned(),
    ];
    // They have their headers and read no further.
    let mut readers: Vec<_> = (0..READERS)
        .map(|number| {
            let path = &paths[number % paths.len()];
            open(&host, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).0
        })
        .collect();
    let stuck = held(pid);
    let each = stuck.memory.saturating_sub(before.memory) / READERS;
    assert!(
        each < 900,
        "{each} KiB for each: {before:?}, then {stuck:?}"
    );
    let socket = host.socket();
    let begun = Instant::now();
    life(&socket, "beside", 3).expect("all else goes on");
    let file = ask(
        &socket,
        "GET",
        &format!("/containers/{id}/archive?path=/etc/passwd"),
        "",
    );
    assert_eq!(file.map(|(status, _)| status), Ok(200));
    let export = ask(&socket, "GET", &paths[0], "").expect("a whole archive");
    assert!(export.1.len() > 8 << 20, "{} bytes", export.1.len());
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    // One that goes on gets all of it.
    let mut reader = readers.remove(1);
    let (mut buffer, mut seen) = (vec![0; 1 << 16], 0);
    while seen < 8 << 20 {
        let length = reader.read(&mut buffer).expect("it goes on");
        assert_ne!(length, 0, "cut after {seen} bytes");
        seen += length;
    }
    drop((reader, readers));
    wait_until(Duration::from_secs(30), "nothing of them is left", || {
        let now = held(pid);
        now.descriptors <= before.descriptors + 2 && now.threads <= before.threads + 20
    });
    call(&host, "POST", &format!("/containers/{id}/kill"), "");
}

#[test]
#[allow(
    clippy::too_many_lines,
    reason = "what a dashboard asks for, in its order"
)]
fn a_dashboard_polls_for_a_minute() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let (mut events, _) = open(&host, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    let ids: Vec<String> = (0..3)
        .map(|number| {
            let health = json!({"Test": ["CMD", "true"], "Interval": 2_000_000_000_i64});
            let body = json!({"Image": "busybox", "Cmd": ["sh", "-c", "while :; do echo tick; sleep 0.5; done"],
                "Labels": {"number": number.to_string()}, "Healthcheck": health});
            let id = created(&host, &body);
            assert_eq!(call(&host, "POST", &format!("/containers/{id}/start"), "").0, 204);
            id
        })
        .collect();
    let pid = host.engine_pid().expect("an engine runs");
    let socket = host.socket();
    let get = |path: &str| -> Value {
        let (status, said) = ask(&socket, "GET", path, "").expect("it answers");
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&said));
        serde_json::from_slice(&said).expect("JSON")
    };
    let deadline =
        Instant::now() + Duration::from_secs(seconds("HOIST_POLL_SECONDS").unwrap_or(60));
    let (mut cpu, mut warm, mut rounds) = (vec![0; ids.len()], None, 0);
    while Instant::now() < deadline {
        rounds += 1;
        for (id, used) in ids.iter().zip(&mut cpu) {
            let stats = get(&format!("/containers/{id}/stats?stream=false"));
            let total = &stats["cpu_stats"]["cpu_usage"]["total_usage"];
            let total = total.as_u64().expect("a number");
            assert!(
                total >= *used && total > 0,
                "processor time goes on: {stats}"
            );
            *used = total;
            assert!(stats["memory_stats"]["usage"].as_u64() > Some(0), "{stats}");
            assert!(
                stats["precpu_stats"]["system_cpu_usage"].as_u64() > Some(0),
                "{stats}"
            );
            let state = get(&format!("/containers/{id}/json"));
            assert_eq!(state["State"]["Status"], "running");
        }
        assert_eq!(
            get("/containers/json?all=1&size=1")
                .as_array()
                .map(Vec::len),
            Some(3)
        );
        for path in [
            "/info",
            "/version",
            "/images/json",
            "/networks",
            "/volumes",
            "/system/df",
        ] {
            get(path);
        }
        let now = held(pid);
        // What the first rounds need is the measure for the later ones.
        if rounds == 3 {
            warm = Some(now);
        }
        if let Some(warm) = warm {
            assert!(
                now.descriptors <= warm.descriptors + 8,
                "{warm:?}, then {now:?}"
            );
        }
    }
    assert!(rounds >= 3, "{rounds} rounds");
    let mut heard = Vec::new();
    let _ = events.set_read_timeout(Some(Duration::from_secs(1)));
    // Ends with the time that reading may take: the stream itself does not end.
    let _ = events.read_to_end(&mut heard);
    let events = String::from_utf8_lossy(&heard).into_owned();
    for action in ["create", "start", "health_status: healthy"] {
        let found = events.matches(&format!(r#""Action":"{action}""#)).count();
        assert!(found >= 3, "{found} {action} events in {events}");
    }
}
