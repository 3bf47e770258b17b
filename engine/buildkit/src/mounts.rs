//! What a Dockerfile will ask of the client's session while it runs: secrets and SSH agents. Both are named in
//! `RUN --mount=type=…` flags, so that they can be had before the build begins.

use std::collections::BTreeSet;

/// What the mounts of a Dockerfile name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts {
    /// Ids of secrets.
    pub secrets: BTreeSet<String>,
    /// Ids of SSH agents.
    pub agents: BTreeSet<String>,
}

/// Finds the mounts. Only asks too much when such a flag stands where it means nothing.
#[must_use]
pub fn mounts(dockerfile: &[u8]) -> Mounts {
    let text = String::from_utf8_lossy(dockerfile);
    let mut found = Mounts::default();
    for word in text.split_whitespace() {
        let Some(options) = word.strip_prefix("--mount=") else {
            continue;
        };
        let options = options.trim_matches(['"', '\'']);
        let value = |names: &[&str]| {
            options
                .split(',')
                .filter_map(|option| option.split_once('='))
                .find(|(name, _)| names.contains(&name.to_ascii_lowercase().as_str()))
                .map(|(_, value)| value.trim_matches(['"', '\'']))
        };
        match value(&["type"]) {
            Some("secret") => {
                // Without an id it is the target's last name.
                let target = value(&["target", "dst", "destination"])
                    .and_then(|target| target.rsplit('/').next());
                found
                    .secrets
                    .extend(value(&["id"]).or(target).map(str::to_owned));
            }
            Some("ssh") => {
                found
                    .agents
                    .insert(value(&["id"]).unwrap_or("default").to_owned());
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found() {
        let text = b"FROM a\nRUN --mount=type=secret,id=one \\\n  --mount=type=secret,target=/run/two cat\n\
            RUN --mount=type=ssh x\nRUN --mount=type=ssh,id=key --mount=type=cache,target=/c y\nRUN --mount=id=three,type=secret,env=X z";
        let found = mounts(text);
        assert_eq!(Vec::from_iter(found.secrets), ["one", "three", "two"]);
        assert_eq!(Vec::from_iter(found.agents), ["default", "key"]);
    }
}
