//! The command line of `docker`, when hoist is started under that name: its words are put into our order.
//!
//! Only words move; what options mean is the same.

use std::ffi::OsString;
use std::path::Path;

/// Commands on containers that `docker` has at the top as well.
const CONTAINER: [&str; 21] = [
    "attach", "commit", "cp", "create", "diff", "exec", "export", "kill", "logs", "pause", "port",
    "rename", "restart", "rm", "run", "start", "stats", "stop", "top", "unpause", "update",
];

/// Commands on images that `docker` has at the top as well.
const IMAGE: [&str; 9] = [
    "build", "history", "import", "load", "pull", "push", "save", "search", "tag",
];

/// Whether the program was started as `docker`.
pub(crate) fn is_docker(line: &[OsString]) -> bool {
    let program = line.first().map(Path::new);
    program
        .and_then(Path::file_name)
        .is_some_and(|name| name == "docker")
}

/// Our command line for one of `docker`'s.
pub(crate) fn translate(line: Vec<OsString>) -> Vec<OsString> {
    if !is_docker(&line) {
        return line;
    }
    let mut words = line.into_iter();
    let mut ours: Vec<OsString> = words.next().into_iter().collect();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        match text.as_str() {
            // With a value of its own.
            "-H" | "--host" | "--context" | "--tlscacert" | "--tlscert" | "--tlskey" => {
                ours.push(word);
                ours.extend(words.next());
            }
            "-c" => {
                ours.push("--context".into());
                ours.extend(words.next());
            }
            "--config" | "-l" | "--log-level" => drop(words.next()),
            "-D" | "--debug" => {}
            _ if text.starts_with("--config=") || text.starts_with("--log-level=") => {}
            _ if text.starts_with('-') => ours.push(word),
            verb => {
                ours.extend(verb_of(verb).into_iter().map(OsString::from));
                break;
            }
        }
    }
    ours.extend(words);
    ours
}

/// Our words for a verb of `docker`.
fn verb_of(verb: &str) -> Vec<&str> {
    match verb {
        // What follows is the command line of Compose, which is ours.
        "compose" => vec![],
        "ps" => vec!["container", "ls"],
        "wait" => vec!["container", "wait"],
        "images" => vec!["image", "ls"],
        "rmi" => vec!["image", "rm"],
        "events" | "version" => vec!["system", verb],
        _ if CONTAINER.contains(&verb) => vec!["container", verb],
        _ if IMAGE.contains(&verb) => vec!["image", verb],
        _ => vec![verb],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let words = line.split(' ').map(OsString::from).collect();
        let got: Vec<String> = translate(words)
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        assert_eq!(got.join(" "), expected);
    }

    #[test]
    fn dockers_words() {
        check("docker ps -a", "docker container ls -a");
        check(
            "/usr/bin/docker run --rm -it x ps",
            "/usr/bin/docker container run --rm -it x ps",
        );
        check("docker -H tcp://x:1 images", "docker -H tcp://x:1 image ls");
        check(
            "docker -c far compose -f a.yaml up",
            "docker --context far -f a.yaml up",
        );
        check("docker --log-level debug rmi x", "docker image rm x");
        check("docker container ls", "docker container ls");
        check("docker inspect x", "docker inspect x");
        check("hoist ps", "hoist ps");
    }
}
