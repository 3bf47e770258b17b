//! Capabilities by name, as Docker's `cap_add` and `cap_drop` have them.

/// Names without `CAP_`; the index is the number (linux/capability.h).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has by default.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The capabilities of a container as bits, within what the engine itself has.
///
/// `ALL` in `drop` empties the default set before `add` applies; `ALL` in `add` gives everything before `drop`
/// applies. Names that the kernel does not know are left out and told in `warnings`.
pub(super) fn select(
    add: &[String],
    drop: &[String],
    available: u64,
    warnings: &mut Vec<String>,
) -> u64 {
    let has_all = |names: &[String]| names.iter().any(|name| plain(name) == "ALL");
    let mut set = match (has_all(add), has_all(drop)) {
        (true, _) => available,
        (false, true) => 0,
        (false, false) => bits(&DEFAULT.map(str::to_owned), warnings),
    };
    if has_all(add) || !has_all(drop) {
        set &= !bits(drop, warnings);
    }
    set |= bits(add, warnings);
    let missing = set & !available;
    for name in NAMES
        .iter()
        .enumerate()
        .filter(|(bit, _)| missing & (1 << bit) != 0)
    {
        if !DEFAULT.contains(name.1) {
            warnings.push(format!(
                "capability {} is not available on this machine",
                name.1
            ));
        }
    }
    set & available
}

/// Whether there is such a capability, or it is `ALL`.
pub(crate) fn is_known(name: &str) -> bool {
    plain(name) == "ALL" || bit(name).is_some()
}

/// The bit of a capability by its name, with or without `CAP_`, in any case.
pub(super) fn bit(name: &str) -> Option<u64> {
    let name = plain(name);
    NAMES
        .iter()
        .position(|known| *known == name)
        .map(|number| 1 << number)
}

fn bits(names: &[String], warnings: &mut Vec<String>) -> u64 {
    let mut set = 0;
    for name in names.iter().filter(|name| plain(name) != "ALL") {
        match bit(name) {
            Some(bit) => set |= bit,
            None => warnings.push(format!("unknown capability {name:?} is ignored")),
        }
    }
    set
}

fn plain(name: &str) -> String {
    let upper = name.trim().to_ascii_uppercase();
    upper
        .strip_prefix("CAP_")
        .map(str::to_owned)
        .unwrap_or(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: u64 = (1 << NAMES.len()) - 1;

    fn names_of(set: u64) -> Vec<&'static str> {
        let named = NAMES
            .iter()
            .enumerate()
            .filter(|(bit, _)| set & (1 << bit) != 0);
        named.map(|(_, name)| *name).collect()
    }

    fn check(add: &[&str], drop: &[&str], expected: &[&str]) {
        let owned = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let set = select(&owned(add), &owned(drop), EVERYTHING, &mut Vec::new());
        assert_eq!(names_of(set), expected);
    }

    #[test]
    fn the_default_set_is_dockers() {
        // 0x00000000a80425fb, as `grep CapEff /proc/1/status` in a Docker container shows.
        assert_eq!(select(&[], &[], EVERYTHING, &mut Vec::new()), 0xa804_25fb);
    }

    #[test]
    fn adding_and_dropping() {
        check(&["net_admin"], &["ALL"], &["NET_ADMIN"]);
        check(
            &["CAP_NET_ADMIN", "CAP_CHOWN"],
            &["all"],
            &["CHOWN", "NET_ADMIN"],
        );
        check(&[], &["ALL"], &[]);
        let all_but = names_of(EVERYTHING & !bit("SYS_ADMIN").unwrap());
        check(&["ALL"], &["SYS_ADMIN"], &all_but);
        check(&["ALL"], &[], &names_of(EVERYTHING));
        check(&["NO_SUCH"], &["ALL"], &[]);
    }

    #[test]
    fn nothing_is_given_that_the_engine_lacks() {
        let mut warnings = Vec::new();
        let resource = bit("SYS_RESOURCE").unwrap();
        let set = select(
            &["SYS_RESOURCE".into(), "ODD".into()],
            &[],
            EVERYTHING & !resource,
            &mut warnings,
        );
        assert_eq!(set & resource, 0);
        assert_eq!(
            warnings,
            [
                "unknown capability \"ODD\" is ignored",
                "capability SYS_RESOURCE is not available on this machine"
            ]
        );
    }
}
