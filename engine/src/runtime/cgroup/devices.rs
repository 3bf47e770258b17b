//! Which devices a container may use: everything is denied first, then allowed rule by rule.

use crate::runtime::spec::{DeviceKind, RuntimeSpec};

/// Docker's default devices: making any node, and using null, zero, full, tty, console, ptmx, the random ones and
/// pseudo-terminals.
const DEFAULT: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

/// One allowance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// `None`: both kinds.
    kind: Option<DeviceKind>,
    major: Option<u32>,
    minor: Option<u32>,
    /// Bits of `BPF_DEVCG_ACC_*`.
    access: u32,
}

impl Rule {
    fn is_everything(&self) -> bool {
        let numbers = self.major.is_none() && self.minor.is_none();
        self.kind.is_none() && numbers && self.access == MKNOD | READ | WRITE
    }
}

/// A write to a version 1 control file.
pub(super) struct RuleWrite {
    pub(super) file: &'static str,
    pub(super) value: String,
}

/// The allowances of a container.
pub(super) fn rules(spec: &RuntimeSpec, warnings: &mut Vec<String>) -> Vec<Rule> {
    if spec.security.privileged {
        let access = MKNOD | READ | WRITE;
        return vec![Rule {
            kind: None,
            major: None,
            minor: None,
            access,
        }];
    }
    let mut rules: Vec<Rule> = DEFAULT.iter().filter_map(|text| parse(text)).collect();
    for device in &spec.devices {
        rules.push(Rule {
            kind: Some(device.kind),
            major: Some(device.major),
            minor: Some(device.minor),
            access: parse_access(&device.access).unwrap_or(MKNOD | READ | WRITE),
        });
    }
    for text in &spec.device_rules {
        match parse(text) {
            Some(rule) => rules.push(rule),
            None => warnings.push(format!(
                "device rule {text:?} is not understood and ignored"
            )),
        }
    }
    rules
}

/// `c 1:3 rwm`, `b *:* m`, `a *:* rwm`.
fn parse(text: &str) -> Option<Rule> {
    let mut fields = text.split_whitespace();
    let kind = match fields.next()? {
        "a" => None,
        "c" => Some(DeviceKind::Character),
        "b" => Some(DeviceKind::Block),
        _ => return None,
    };
    let (major, minor) = fields.next()?.split_once(':')?;
    let number = |text: &str| match text {
        "*" => Some(None),
        text => text.parse().ok().map(Some),
    };
    let rule = Rule {
        kind,
        major: number(major)?,
        minor: number(minor)?,
        access: parse_access(fields.next()?)?,
    };
    fields.next().is_none().then_some(rule)
}

fn parse_access(letters: &str) -> Option<u32> {
    let bits = letters.chars().try_fold(0, |bits, letter| match letter {
        'r' => Some(bits | READ),
        'w' => Some(bits | WRITE),
        'm' => Some(bits | MKNOD),
        _ => None,
    });
    bits.filter(|bits| *bits != 0)
}

/// The rules as writes to `devices.deny` and `devices.allow`.
pub(super) fn v1_writes(rules: &[Rule]) -> Vec<RuleWrite> {
    if rules.iter().any(Rule::is_everything) {
        return vec![RuleWrite {
            file: "devices.allow",
            value: "a".to_owned(),
        }];
    }
    let deny = RuleWrite {
        file: "devices.deny",
        value: "a".to_owned(),
    };
    let allow = rules.iter().flat_map(|rule| {
        let kinds = match rule.kind {
            None => vec!['c', 'b'],
            Some(DeviceKind::Character) => vec!['c'],
            Some(DeviceKind::Block) => vec!['b'],
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let (major, minor) = (number(rule.major), number(rule.minor));
        let letters: String = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')]
            .iter()
            .filter(|(bit, _)| rule.access & bit != 0)
            .map(|(_, letter)| letter)
            .collect();
        kinds.into_iter().map(move |kind| RuleWrite {
            file: "devices.allow",
            value: format!("{kind} {major}:{minor} {letters}"),
        })
    });
    std::iter::once(deny).chain(allow).collect()
}

/// The rules as an eBPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE`: 1 allows, 0 denies. Empty when
/// everything is allowed.
///
/// Its context is `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor }`, whose first word has the kind
/// of device in its lower half and the wanted access in its upper.
pub(super) fn filter(rules: &[Rule]) -> Vec<u64> {
    if rules.iter().any(Rule::is_everything) {
        return Vec::new();
    }
    let mut code = vec![
        // r2 = kind, r3 = access, r4 = major, r5 = minor
        load(2, 0),
        instruction(ALU_AND, 2, 0, 0xffff),
        load(3, 0),
        instruction(ALU_RSH, 3, 0, 16),
        load(4, 4),
        load(5, 8),
    ];
    for rule in rules {
        add_rule(&mut code, rule);
    }
    code.push(instruction(MOV, 0, 0, 0));
    code.push(instruction(EXIT, 0, 0, 0));
    code
}

const LOAD_WORD: u8 = 0x61;
const ALU_AND: u8 = 0x54;
const ALU_RSH: u8 = 0x74;
const MOV: u8 = 0xb7;
const MOV_REGISTER: u8 = 0xbc;
const JUMP_NOT_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;
const BLOCK: u32 = 1;
const CHARACTER: u32 = 2;

fn add_rule(code: &mut Vec<u64>, rule: &Rule) {
    let mut tests: Vec<(u8, u32)> = Vec::new();
    match rule.kind {
        Some(DeviceKind::Block) => tests.push((2, BLOCK)),
        Some(DeviceKind::Character) => tests.push((2, CHARACTER)),
        None => {}
    }
    tests.extend(rule.major.map(|major| (4, major)));
    tests.extend(rule.minor.map(|minor| (5, minor)));
    let checks_access = rule.access != MKNOD | READ | WRITE;
    // After the tests come three instructions for the access, if any, and two that allow.
    let after_tests = if checks_access { 5 } else { 2 };
    for (index, (register, value)) in tests.iter().enumerate() {
        let skip = tests.len() - index - 1 + after_tests;
        code.push(jump_not_equal(*register, *value, skip));
    }
    if checks_access {
        // r1 = r3 & ~allowed; anything left is not allowed
        code.push(instruction(MOV_REGISTER, 1, 3, 0));
        code.push(instruction(ALU_AND, 1, 0, !rule.access));
        code.push(jump_not_equal(1, 0, 2));
    }
    code.push(instruction(MOV, 0, 0, 1));
    code.push(instruction(EXIT, 0, 0, 0));
}

/// `struct bpf_insn`: code, registers, offset, immediate.
fn instruction(code: u8, destination: u8, source: u8, immediate: u32) -> u64 {
    encode(code, destination, source, (0, immediate))
}

fn load(destination: u8, offset: u16) -> u64 {
    encode(LOAD_WORD, destination, 1, (offset, 0))
}

fn jump_not_equal(register: u8, value: u32, skip: usize) -> u64 {
    encode(
        JUMP_NOT_EQUAL,
        register,
        0,
        (u16::try_from(skip).unwrap_or(u16::MAX), value),
    )
}

fn encode(code: u8, destination: u8, source: u8, (offset, immediate): (u16, u32)) -> u64 {
    let registers = u64::from(source << 4 | destination);
    u64::from(code) | registers << 8 | u64::from(offset) << 16 | u64::from(immediate) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let rule = |kind, major, minor, access| {
            Some(Rule {
                kind,
                major,
                minor,
                access,
            })
        };
        assert_eq!(
            parse("c 1:3 rwm"),
            rule(Some(DeviceKind::Character), Some(1), Some(3), 7)
        );
        assert_eq!(
            parse("b *:* m"),
            rule(Some(DeviceKind::Block), None, None, MKNOD)
        );
        assert_eq!(parse("a 10:* r"), rule(None, Some(10), None, READ));
        for wrong in [
            "",
            "c",
            "c 1 r",
            "d 1:1 r",
            "c 1:1 x",
            "c 1:1",
            "c 1:1 ",
            "c 1:1 r w",
            "c a:1 r",
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    /// Runs the program on a context as the kernel would.
    fn evaluate(code: &[u64], kind: u32, access: u32, (major, minor): (u32, u32)) -> u64 {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_u64; 11];
        let mut at = 0;
        loop {
            let word = code[at];
            let [operation, pair, ..] = word.to_le_bytes();
            let (destination, source) = (usize::from(pair & 15), usize::from(pair >> 4));
            let offset = (word >> 16 & 0xffff) as usize;
            let immediate = (word >> 32) as u32;
            at += 1;
            match operation {
                LOAD_WORD => registers[destination] = context[offset / 4].into(),
                ALU_AND => {
                    registers[destination] = u64::from(registers[destination] as u32 & immediate)
                }
                ALU_RSH => {
                    registers[destination] = u64::from(registers[destination] as u32 >> immediate)
                }
                MOV => registers[destination] = immediate.into(),
                MOV_REGISTER => registers[destination] = u64::from(registers[source] as u32),
                JUMP_NOT_EQUAL if registers[destination] != u64::from(immediate) => at += offset,
                JUMP_NOT_EQUAL => {}
                EXIT => return registers[0],
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_filter_allows_what_the_rules_allow() {
        let rules: Vec<Rule> = DEFAULT.iter().filter_map(|text| parse(text)).collect();
        let code = filter(&rules);
        let check = |kind, access, device, expected| {
            assert_eq!(
                evaluate(&code, kind, access, device),
                expected,
                "{kind} {access} {device:?}"
            );
        };
        check(CHARACTER, READ | WRITE, (1, 3), 1);
        check(CHARACTER, READ, (136, 77), 1);
        check(BLOCK, MKNOD, (8, 0), 1);
        check(BLOCK, READ, (8, 0), 0);
        check(BLOCK, READ | MKNOD, (8, 0), 0);
        check(CHARACTER, READ, (1, 1), 0);
        check(CHARACTER, MKNOD, (1, 1), 1);
        check(BLOCK, READ, (1, 3), 0);
    }

    #[test]
    fn version_1_denies_before_it_allows() {
        let rules: Vec<Rule> = ["c 1:3 rw", "a 10:200 rwm"]
            .iter()
            .filter_map(|text| parse(text))
            .collect();
        let lines: Vec<String> = v1_writes(&rules)
            .iter()
            .map(|write| format!("{} {}", write.file, write.value))
            .collect();
        assert_eq!(lines[..2], ["devices.deny a", "devices.allow c 1:3 rw"]);
        // All kinds with a number is not everything.
        assert_eq!(filter(&rules).is_empty(), lines.len() == 1);
    }
}
