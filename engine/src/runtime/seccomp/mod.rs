//! Filters of system calls: profiles in Docker's terms, compiled to classic BPF without libseccomp.
//!
//! A profile is a list of rules over names; [`compile`] picks those that apply to a container (by its
//! capabilities, the kernel, the architecture), looks the numbers up for the native and the compatible
//! architectures, and makes one program that finds a number by binary search. Rules are tried in order, the
//! first that matches decides.

mod compile;
mod default_profile;
mod json;
mod table;

#[cfg(test)]
mod tests;

pub use compile::compile;
pub use default_profile::default_profile;

/// Facts about a container that rules depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Kernel release, major and minor.
    pub kernel: (u32, u32),
    /// The container's capabilities as bits.
    pub capabilities: u64,
}

/// A list of rules and what happens to every other system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// For calls that no rule matches.
    pub default_action: Action,
    /// Tried in order.
    pub rules: Vec<Rule>,
}

/// What happens to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is carried out.
    Allow,
    /// It is carried out and logged.
    Log,
    /// It fails with this errno.
    Errno(u16),
    /// The thread receives SIGSYS.
    Trap,
    /// A tracer is asked.
    Trace(u16),
    /// The thread is killed.
    KillThread,
    /// The process is killed.
    KillProcess,
}

/// An action for some system calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Names; one that an architecture does not have is left out there.
    pub names: Vec<String>,
    /// The action.
    pub action: Action,
    /// All of them must match; none: always.
    pub arguments: Vec<Argument>,
    /// The rule applies only if all of this is so.
    pub includes: Condition,
    /// The rule does not apply if any of this is so.
    pub excludes: Condition,
}

/// When a rule applies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// Capabilities as bits.
    pub capabilities: u64,
    /// Native architectures, in Go's names: `amd64`, `arm64`. Empty: any.
    pub architectures: Vec<String>,
    /// Kernel release from which on.
    pub min_kernel: Option<(u32, u32)>,
}

/// A comparison of an argument (unsigned, 64 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// 0 to 5.
    pub index: u8,
    /// How.
    pub comparison: Comparison,
    /// With what; the mask for [`Comparison::MaskedEqual`].
    pub value: u64,
    /// What the masked argument has to be.
    pub second_value: u64,
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessOrEqual,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterOrEqual,
    /// Equal to the second value under the mask.
    MaskedEqual,
}

/// A profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeccompError {
    /// It is not JSON of the right shape.
    #[error("decoding the seccomp profile failed: {0}")]
    Json(String),
    /// It names something that does not exist.
    #[error("the seccomp profile has an unknown {what} {name:?}")]
    Unknown {
        /// Action, operator, …
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The filter is longer than the kernel takes.
    #[error("the seccomp profile makes a filter of {0} instructions, the kernel takes 4096")]
    TooLong(usize),
}

impl Rule {
    /// Whether the rule applies to a container on this machine.
    pub(super) fn applies(&self, facts: &Facts) -> bool {
        let native = native_name();
        let names =
            |condition: &Condition| condition.architectures.iter().any(|name| name == native);
        let includes = &self.includes;
        let included = facts.capabilities & includes.capabilities == includes.capabilities
            && (includes.architectures.is_empty() || names(includes))
            && includes
                .min_kernel
                .is_none_or(|kernel| facts.kernel >= kernel);
        let excludes = &self.excludes;
        let excluded = facts.capabilities & excludes.capabilities != 0
            || names(excludes)
            || excludes
                .min_kernel
                .is_some_and(|kernel| facts.kernel >= kernel);
        included && !excluded
    }
}

/// Go's name of the architecture that this program runs on.
fn native_name() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
