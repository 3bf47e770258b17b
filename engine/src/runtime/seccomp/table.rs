//! System call numbers of the architectures that a filter covers.

/// One architecture of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Architecture {
    X86_64,
    X86,
    X32,
    Aarch64,
}

/// x32 shares the audit number of x86_64; its calls have this bit.
pub(super) const X32_BIT: u32 = 0x4000_0000;

const TABLE: &str = include_str!("syscalls.tsv");

impl Architecture {
    /// `AUDIT_ARCH_*` of linux/audit.h.
    pub(super) fn audit_number(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    fn column(self) -> usize {
        match self {
            Self::X86_64 => 0,
            Self::X86 => 1,
            Self::X32 => 2,
            Self::Aarch64 => 3,
        }
    }
}

/// Architectures whose programs can run on this machine, the native one first. 32-bit ARM is left out: its
/// programs are killed.
pub(super) fn of_this_machine() -> &'static [Architecture] {
    match std::env::consts::ARCH {
        "aarch64" => &[Architecture::Aarch64],
        _ => &[Architecture::X86_64, Architecture::X86, Architecture::X32],
    }
}

/// All names and numbers of an architecture.
pub(super) fn numbers(architecture: Architecture) -> impl Iterator<Item = (&'static str, u32)> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(move |line| {
        let mut fields = line.split('\t');
        let name = fields.next()?;
        let number = fields.nth(architecture.column())?.parse().ok()?;
        Some((name, number))
    })
}
