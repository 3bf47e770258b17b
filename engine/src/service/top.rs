//! The processes of a container: `/top`.
//!
//! `ps` runs on the machine with the client's arguments and the container's processes as its selection, as Docker does it; the
//! arguments are words, never a shell's. Without `ps` on the machine the usual columns come from `/proc`.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use hoist_api::container::TopResponse;
use hoist_api::error::{ApiError, ErrorKind, Result};

use super::{Service, internal};

const USUAL: &str = "-ef";
/// How long `ps` may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Service {
    /// The processes of a container, as `ps` with these arguments shows them.
    pub(crate) async fn top(self: &Arc<Self>, key: &str, arguments: &str) -> Result<TopResponse> {
        let container = self.containers.find(key)?;
        let arguments = if arguments.trim().is_empty() {
            USUAL
        } else {
            arguments
        };
        check(arguments)?;
        if !container.is_running() {
            return Err(container.not_running());
        }
        let pid = container.record().run.pid;
        let pids = self.blocking(move |_| Ok(pids_with(pid))).await?;
        let listed = match ps(arguments, &pids).await? {
            Some(output) => select(&output, &pids)?,
            None => self.blocking(move |_| Ok(without_ps(&pids))).await?,
        };
        self.emit(&container, "top", []);
        Ok(listed)
    }
}

/// A column named PID must be the process id: it is what lines are selected by.
fn check(arguments: &str) -> Result<()> {
    let words = arguments.split([' ', '\t', ',']);
    for word in words {
        let Some((column, title)) = word.split_once('=') else {
            continue;
        };
        if title.starts_with("PID") && column != "pid" {
            return Err(ApiError::bad_request(format!(
                "specifying \"{column}={title}\" is not allowed"
            )));
        }
    }
    Ok(())
}

/// What `ps` prints; none when the machine has none.
async fn ps(arguments: &str, pids: &[u32]) -> Result<Option<String>> {
    let words: Vec<&str> = arguments.split_ascii_whitespace().collect();
    let list = pids
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(",");
    // Some arguments do not go together with a selection.
    for selection in [Some(format!("-q{list}")), None] {
        let last = selection.is_none();
        let mut command = tokio::process::Command::new("ps");
        command
            .args(&words)
            .args(selection)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = match tokio::time::timeout(PATIENCE, command.output()).await {
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Ok(output) => output.map_err(|error| internal(&error))?,
            Err(_) => {
                let message = "ps did not end within 10 seconds";
                return Err(ApiError::new(ErrorKind::Internal, message));
            }
        };
        if output.status.success() {
            return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
        }
        if last {
            let said = String::from_utf8_lossy(&output.stderr);
            let why = said.lines().find(|line| !line.trim().is_empty());
            let why = why.unwrap_or("it failed").trim();
            return Err(ApiError::bad_request(format!("ps: {why}")));
        }
    }
    Ok(None)
}

/// The lines of these processes; threads, whose process id is a dash, go with the process above them.
fn select(output: &str, pids: &[u32]) -> Result<TopResponse> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .map(str::to_owned)
        .collect();
    let Some(column) = titles.iter().position(|title| title == "PID") else {
        return Err(ApiError::bad_request(
            "Couldn't find PID field in ps output",
        ));
    };
    let mut processes = Vec::new();
    let mut with_above = false;
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let own = match words.get(column) {
            Some(&"-") => with_above,
            Some(pid) => pid.parse().is_ok_and(|pid| pids.contains(&pid)),
            None => false,
        };
        with_above = own;
        if own {
            let last = titles.len() - 1;
            let mut row: Vec<String> = words
                .iter()
                .take(last)
                .map(|word| (*word).to_owned())
                .collect();
            row.push(words.get(last..).unwrap_or_default().join(" "));
            processes.push(row);
        }
    }
    Ok(TopResponse { titles, processes })
}

/// The processes in the pid namespace of one of them, and those that execs brought in.
fn pids_with(pid: i32) -> Vec<u32> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let group = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok();
    let own = pid.to_string();
    let (own_namespace, own_group) = (namespace(&own), group(&own));
    if own_namespace.is_none() {
        return Vec::new();
    }
    // A container that shares the machine's or another's processes has its own by control group.
    let shares = own_namespace == namespace("self");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(number) = name.parse::<u32>() else {
            continue;
        };
        let same = if shares {
            own_group.is_some() && group(&name) == own_group
        } else {
            namespace(&name) == own_namespace
        };
        if same {
            found.push(number);
        }
    }
    found.sort_unstable();
    found
}

/// The usual columns, without a `ps`.
fn without_ps(pids: &[u32]) -> TopResponse {
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
    let rows = pids.iter().filter_map(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next().map(str::to_owned)
        };
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<String> = command
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let command = if words.is_empty() {
            field("Name:").unwrap_or_default()
        } else {
            words.join(" ")
        };
        let number = |key: &str| field(key).unwrap_or_else(|| "0".to_owned());
        let [unknown, no_time] = ["?", "00:00:00"].map(str::to_owned);
        Some(vec![
            number("Uid:"),
            pid.to_string(),
            number("PPid:"),
            "0".to_owned(),
            unknown.clone(),
            unknown,
            no_time,
            command,
        ])
    });
    TopResponse {
        titles: titles.map(str::to_owned).to_vec(),
        processes: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_containers_processes_are_selected() {
        let output = "  PID USER  COMMAND\n    1 root  init now\n   12 bob   sleep 1 2\n    - bob   thread\n   13 bob   other\n";
        let listed = select(output, &[12]).unwrap();
        assert_eq!(listed.titles, ["PID", "USER", "COMMAND"]);
        assert_eq!(
            listed.processes,
            [["12", "bob", "sleep 1 2"], ["-", "bob", "thread"]]
        );
        assert!(select("USER\nroot\n", &[1]).is_err());
    }

    #[test]
    fn the_column_of_the_process_id_cannot_be_forged() {
        assert!(check("-o pid,cmd").is_ok());
        assert!(check("-o pid=PID,cmd=CMD").is_ok());
        assert!(check("-o ppid=PID").is_err());
    }
}
