//! Profiles in the JSON form that `docker run --security-opt seccomp=` takes.

use serde::Deserialize;

use super::super::capabilities;
use super::{Action, Argument, Comparison, Condition, Profile, Rule, SeccompError};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonProfile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    syscalls: Option<Vec<JsonRule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonRule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    args: Option<Vec<JsonArgument>>,
    #[serde(default)]
    includes: Option<JsonCondition>,
    #[serde(default)]
    excludes: Option<JsonCondition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonArgument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct JsonCondition {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// When it is no profile, or names actions or operators that do not exist. Unknown system calls and
    /// capabilities are left out, as they are by Docker: a profile may be newer than the machine.
    pub fn from_json(text: &str) -> Result<Self, SeccompError> {
        let json: JsonProfile =
            serde_json::from_str(text).map_err(|error| SeccompError::Json(error.to_string()))?;
        let default_action = action(&json.default_action, json.default_errno_ret)?;
        let rules = json.syscalls.unwrap_or_default();
        let rules = rules.into_iter().map(rule).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            default_action,
            rules,
        })
    }
}

fn rule(json: JsonRule) -> Result<Rule, SeccompError> {
    let mut names = json.names;
    if !json.name.is_empty() {
        names.push(json.name);
    }
    Ok(Rule {
        names,
        action: action(&json.action, json.errno_ret)?,
        arguments: json
            .args
            .unwrap_or_default()
            .into_iter()
            .map(argument)
            .collect::<Result<_, _>>()?,
        includes: condition(json.includes.unwrap_or_default())?,
        excludes: condition(json.excludes.unwrap_or_default())?,
    })
}

fn action(name: &str, errno: Option<u16>) -> Result<Action, SeccompError> {
    /// `EPERM`, which Docker takes when a profile says nothing.
    const PERM: u16 = 1;
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ERRNO" => Action::Errno(errno.unwrap_or(PERM)),
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_TRACE" => Action::Trace(errno.unwrap_or(PERM)),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        other => {
            return Err(SeccompError::Unknown {
                what: "action",
                name: other.to_owned(),
            });
        }
    })
}

fn argument(json: JsonArgument) -> Result<Argument, SeccompError> {
    let comparison = match json.op.as_str() {
        "SCMP_CMP_EQ" => Comparison::Equal,
        "SCMP_CMP_NE" => Comparison::NotEqual,
        "SCMP_CMP_LT" => Comparison::Less,
        "SCMP_CMP_LE" => Comparison::LessOrEqual,
        "SCMP_CMP_GT" => Comparison::Greater,
        "SCMP_CMP_GE" => Comparison::GreaterOrEqual,
        "SCMP_CMP_MASKED_EQ" => Comparison::MaskedEqual,
        other => {
            return Err(SeccompError::Unknown {
                what: "operator",
                name: other.to_owned(),
            });
        }
    };
    if json.index > 5 {
        return Err(SeccompError::Unknown {
            what: "argument",
            name: json.index.to_string(),
        });
    }
    Ok(Argument {
        index: json.index,
        comparison,
        value: json.value,
        second_value: json.value_two,
    })
}

fn condition(json: JsonCondition) -> Result<Condition, SeccompError> {
    // A capability that this engine does not know is one that no container has.
    let unknown = 1 << 63;
    let bits = json.caps.unwrap_or_default();
    let bits = bits.iter().fold(0, |bits, name| {
        bits | capabilities::bit(name).unwrap_or(unknown)
    });
    let min_kernel = json
        .min_kernel
        .map(|text| {
            let parts = text
                .split_once('.')
                .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
            parts.ok_or(SeccompError::Unknown {
                what: "kernel release",
                name: text,
            })
        })
        .transpose()?;
    Ok(Condition {
        capabilities: bits,
        architectures: json.arches.unwrap_or_default(),
        min_kernel,
    })
}
