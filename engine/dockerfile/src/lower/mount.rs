//! `RUN --mount`: its options, and what they must not be together.

use crate::graph::{Ownership, Sharing};
use crate::lint::parse_bool;
use crate::suggest;

/// The mount types.
const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
/// The options.
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

/// A mount's options, read and checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) kind: Kind,
    pub(super) from: String,
    pub(super) source: String,
    pub(super) target: String,
    pub(super) read_only: bool,
    pub(super) size: Option<u64>,
    pub(super) id: String,
    pub(super) sharing: Option<Sharing>,
    pub(super) required: bool,
    pub(super) env: Option<String>,
    pub(super) owner: Ownership,
    /// Said whether writes are allowed.
    access_given: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

/// The `from=` of a mount that is not expanded yet.
pub(super) fn from_of(text: &str) -> Result<Option<String>, String> {
    for field in fields(text)? {
        if let Some((key, value)) = field.split_once('=')
            && key.eq_ignore_ascii_case("from")
        {
            if value.find('$').is_some_and(|at| at + 1 != value.len()) {
                return Err(
                    "'from' doesn't support variable expansion, define alias stage instead"
                        .to_owned(),
                );
            }
            return Ok(Some(value.to_owned()).filter(|value| !value.is_empty()));
        }
    }
    Ok(None)
}

/// Reads a mount; values are expanded one by one.
pub(super) fn parse(
    text: &str,
    mut expand: impl FnMut(&str) -> Result<String, String>,
) -> Result<Mount, String> {
    let mut mount = Mount::default();
    for field in fields(text)? {
        match field.split_once('=') {
            Some((key, value)) => {
                let value = expand(value)?;
                mount.option(&key.to_lowercase(), &value, &field)?;
            }
            None => mount.bare(&field.to_lowercase(), &field)?,
        }
    }
    mount.check()?;
    Ok(mount)
}

impl Mount {
    fn access(&mut self, read_only: bool) {
        self.read_only = read_only;
        self.access_given = true;
    }

    /// An option without a value.
    fn bare(&mut self, key: &str, field: &str) -> Result<(), String> {
        match key {
            "readonly" | "ro" => self.access(true),
            "readwrite" | "rw" => self.access(false),
            "required" => self.required(true)?,
            _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
        }
        Ok(())
    }

    fn required(&mut self, value: bool) -> Result<(), String> {
        if !matches!(self.kind, Kind::Secret | Kind::Ssh) {
            return Err(self.unexpected("required"));
        }
        self.required = value;
        Ok(())
    }

    fn unexpected(&self, key: &str) -> String {
        format!(
            "unexpected key '{key}' for mount type '{}'",
            self.kind.name()
        )
    }

    fn option(&mut self, key: &str, value: &str, field: &str) -> Result<(), String> {
        let flag = || parse_bool(value).ok_or_else(|| format!("invalid value for {key}: {value}"));
        let number = |radix| {
            u32::from_str_radix(value, radix)
                .map_err(|_| format!("invalid value {value} for {key}"))
        };
        match key {
            "type" => {
                self.kind = match value.to_lowercase().as_str() {
                    "bind" => Kind::Bind,
                    "cache" => Kind::Cache,
                    "tmpfs" => Kind::Tmpfs,
                    "secret" => Kind::Secret,
                    "ssh" => Kind::Ssh,
                    _ => {
                        let near = suggest::did_you_mean(value, TYPES);
                        return Err(format!("unsupported mount type {value:?}{near}"));
                    }
                };
            }
            "from" => value.clone_into(&mut self.from),
            "source" | "src" => value.clone_into(&mut self.source),
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "readonly" | "ro" => self.access(flag()?),
            "readwrite" | "rw" => self.access(!flag()?),
            "required" => {
                let value = flag()?;
                self.required(value)?;
            }
            "size" if self.kind == Kind::Tmpfs => {
                let size =
                    bytes(value).ok_or_else(|| format!("invalid value for {key}: {value}"))?;
                self.size = Some(size).filter(|size| *size > 0);
            }
            "size" => return Err(self.unexpected(key)),
            "id" => value.clone_into(&mut self.id),
            "sharing" => {
                self.sharing = Some(match value.to_lowercase().as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => {
                        let near = suggest::did_you_mean(value, ["shared", "private", "locked"]);
                        return Err(format!("unsupported sharing value {value:?}{near}"));
                    }
                });
            }
            "mode" => self.owner.mode = Some(number(8)?),
            "uid" => self.owner.uid = Some(number(10)?),
            "gid" => self.owner.gid = Some(number(10)?),
            "env" => self.env = Some(value.to_owned()),
            _ => {
                let near = suggest::did_you_mean(key, KEYS);
                return Err(format!("unexpected key '{key}' in '{field}'{near}"));
            }
        }
        Ok(())
    }

    /// What options must not be together.
    fn check(&mut self) -> Result<(), String> {
        let kind = self.kind;
        if matches!(kind, Kind::Bind | Kind::Tmpfs) {
            let given = [
                ("mode", self.owner.mode),
                ("uid", self.owner.uid),
                ("gid", self.owner.gid),
            ];
            if let Some((key, _)) = given.iter().find(|(_, value)| value.is_some()) {
                return Err(format!(
                    "{key} not allowed for {:?} type mounts",
                    kind.name()
                ));
            }
        }
        if !self.access_given {
            self.read_only = !matches!(kind, Kind::Cache | Kind::Tmpfs);
        }
        if kind == Kind::Secret {
            let rules = [
                (!self.from.is_empty(), "secret mount should not have a from"),
                (
                    self.sharing.is_some(),
                    "secret mount should not define sharing",
                ),
                (
                    self.source.is_empty() && self.target.is_empty() && self.id.is_empty(),
                    "invalid secret mount. one of source, target required",
                ),
                (
                    !self.source.is_empty() && !self.id.is_empty(),
                    "both source and id can't be set",
                ),
            ];
            if let Some((_, why)) = rules.iter().find(|(broken, _)| *broken) {
                return Err((*why).to_owned());
            }
        }
        if kind == Kind::Ssh && !self.source.is_empty() {
            return Err("ssh does not support source".to_owned());
        }
        if self.sharing.is_some() && kind != Kind::Cache {
            return Err(format!(
                "invalid cache sharing set for {} mount",
                kind.name()
            ));
        }
        Ok(())
    }
}

/// Fields between commas; one may be in quotes, in which quotes are doubled.
fn fields(text: &str) -> Result<Vec<String>, String> {
    let broken = || "failed to parse csv mounts: a quote is not closed".to_owned();
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let mut field = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let end = quoted.find('"').ok_or_else(broken)?;
                field.push_str(&quoted[..end]);
                quoted = &quoted[end + 1..];
                match quoted.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        quoted = more;
                    }
                    None => break,
                }
            }
            rest = quoted;
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err("failed to parse csv mounts: text after a closing quote".to_owned());
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}

/// A number of bytes as Docker writes it: `64m`, `1.5g`, `100`.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let lower = lower.strip_suffix('i').unwrap_or(lower);
    let (number, factor) = match lower.chars().last()? {
        'k' => (&lower[..lower.len() - 1], 1_u64 << 10),
        'm' => (&lower[..lower.len() - 1], 1 << 20),
        'g' => (&lower[..lower.len() - 1], 1 << 30),
        't' => (&lower[..lower.len() - 1], 1 << 40),
        _ => (lower, 1),
    };
    let number: f64 = number.trim().parse().ok()?;
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes are far below the limits of both, and checked not to be negative"
    )]
    let size = (number >= 0.0 && number.is_finite()).then_some((number * factor as f64) as u64);
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Mount, String> {
        parse(text, |value| Ok(value.replace("$ID", "seven")))
    }

    #[test]
    fn options_are_read() {
        let mount =
            read("type=cache,id=a-$ID,target=/c,sharing=locked,uid=1,gid=2,mode=0750,ro").unwrap();
        assert_eq!(mount.id, "a-seven");
        assert_eq!(mount.sharing, Some(Sharing::Locked));
        assert_eq!(mount.owner.mode, Some(0o750));
        assert!(mount.read_only);
        assert!(read("target=/x").unwrap().read_only);
        assert!(!read("target=/x,rw").unwrap().read_only);
        assert_eq!(
            read("type=tmpfs,target=/x,size=64m").unwrap().size,
            Some(64 << 20)
        );
        assert!(read("type=secret,id=a,required").unwrap().required);
        assert_eq!(read("\"source=a,b\",target=/x").unwrap().source, "a,b");
        assert_eq!(
            from_of("type=bind,from=build").unwrap().as_deref(),
            Some("build")
        );
        assert!(from_of("from=$X").is_err());
    }

    #[test]
    fn wrong_options_are_named() {
        for (text, why) in [
            (
                "type=bnid",
                "unsupported mount type \"bnid\" (did you mean bind?)",
            ),
            (
                "tagret=/x",
                "unexpected key 'tagret' in 'tagret=/x' (did you mean target?)",
            ),
            ("size=1", "unexpected key 'size' for mount type 'bind'"),
            (
                "required",
                "unexpected key 'required' for mount type 'bind'",
            ),
            ("target", "invalid field 'target' must be a key=value pair"),
            (
                "type=cache,sharing=lokced",
                "unsupported sharing value \"lokced\" (did you mean locked?)",
            ),
            (
                "type=bind,uid=1",
                "uid not allowed for \"bind\" type mounts",
            ),
            (
                "type=secret",
                "invalid secret mount. one of source, target required",
            ),
            (
                "type=secret,id=a,source=b",
                "both source and id can't be set",
            ),
            ("type=ssh,source=x", "ssh does not support source"),
            ("type=ssh,mode=9", "invalid value 9 for mode"),
            ("ro=perhaps", "invalid value for ro: perhaps"),
            (
                "\"target=/x",
                "failed to parse csv mounts: a quote is not closed",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), why, "{text}");
        }
    }
}
