//! The compiled program does what the rules say, for any profile.

use hoist_kernel::init::program::Instruction;
use proptest::prelude::*;

use super::super::capabilities;
use super::table::{self, Architecture, X32_BIT};
use super::*;

/// A system call as the kernel gives it to a filter.
#[derive(Debug, Clone, Copy)]
struct Call {
    audit_number: u32,
    number: u32,
    arguments: [u64; 6],
}

/// Runs a program as the kernel would.
fn run(program: &[Instruction], call: Call) -> u32 {
    let word = |offset: u32| match offset {
        0 => call.number,
        4 => call.audit_number,
        _ => {
            let argument = call.arguments[(offset as usize - 16) / 8];
            if offset.is_multiple_of(8) {
                argument as u32
            } else {
                (argument >> 32) as u32
            }
        }
    };
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let instruction = program[at];
        at += 1;
        let holds = match instruction.code {
            0x20 => {
                accumulator = word(instruction.operand);
                continue;
            }
            0x54 => {
                accumulator &= instruction.operand;
                continue;
            }
            0x05 => {
                at += instruction.operand as usize;
                continue;
            }
            0x06 => return instruction.operand,
            0x15 => accumulator == instruction.operand,
            0x25 => accumulator > instruction.operand,
            0x35 => accumulator >= instruction.operand,
            other => panic!("the kernel knows no {other:#x}"),
        };
        at += usize::from(if holds {
            instruction.jump_true
        } else {
            instruction.jump_false
        });
    }
}

/// What the rules say, without cleverness.
fn expected(profile: &Profile, facts: &Facts, architecture: Architecture, call: Call) -> u32 {
    let name = table::numbers(architecture).find(|(_, number)| *number == call.number);
    let applying: Vec<&Rule> = profile
        .rules
        .iter()
        .filter(|rule| rule.applies(facts))
        .collect();
    let matching = applying.iter().find(|rule| {
        name.is_some_and(|(name, _)| rule.names.iter().any(|other| other == name))
            && rule.arguments.iter().all(|argument| holds(argument, call))
    });
    if let Some(rule) = matching {
        return encode(rule.action);
    }
    let numbers: Vec<(&str, u32)> = table::numbers(architecture).collect();
    let named = applying.iter().flat_map(|rule| &rule.names);
    let highest = named
        .filter_map(|name| numbers.iter().find(|(other, _)| other == name))
        .map(|(_, n)| *n)
        .max();
    let first = if architecture == Architecture::X32 {
        X32_BIT
    } else {
        0
    };
    match profile.default_action {
        Action::Errno(_)
            if highest.map_or(call.number >= first, |highest| call.number > highest) =>
        {
            encode(Action::Errno(38))
        }
        other => encode(other),
    }
}

fn holds(argument: &Argument, call: Call) -> bool {
    let actual = call.arguments[usize::from(argument.index)];
    match argument.comparison {
        Comparison::Equal => actual == argument.value,
        Comparison::NotEqual => actual != argument.value,
        Comparison::Less => actual < argument.value,
        Comparison::LessOrEqual => actual <= argument.value,
        Comparison::Greater => actual > argument.value,
        Comparison::GreaterOrEqual => actual >= argument.value,
        Comparison::MaskedEqual => actual & argument.value == argument.second_value,
    }
}

fn encode(action: Action) -> u32 {
    match action {
        Action::KillProcess => 0x8000_0000,
        Action::KillThread => 0,
        Action::Trap => 0x3_0000,
        Action::Errno(errno) => 0x5_0000 + u32::from(errno),
        Action::Trace(value) => 0x7ff0_0000 + u32::from(value),
        Action::Log => 0x7ffc_0000,
        Action::Allow => 0x7fff_0000,
    }
}

const ALLOW: u32 = 0x7fff_0000;
const PERM: u32 = 0x5_0001;
const NOSYS: u32 = 0x5_0026;

fn default_outcome(capability: Option<&str>, name: &str, arguments: [u64; 6]) -> u32 {
    let bits = capability.and_then(capabilities::bit).unwrap_or_default();
    let program = compile(
        &default_profile(),
        &Facts {
            kernel: (6, 1),
            capabilities: bits,
        },
    )
    .unwrap();
    let architecture = table::of_this_machine()[0];
    let number = table::numbers(architecture)
        .find(|(other, _)| *other == name)
        .unwrap()
        .1;
    run(
        &program,
        Call {
            audit_number: architecture.audit_number(),
            number,
            arguments,
        },
    )
}

#[test]
fn the_default_profile_is_dockers() {
    let check = |capability, name: &str, first: u64, expected: u32| {
        let outcome = default_outcome(capability, name, [first, 0, 0, 0, 0, 0]);
        assert_eq!(outcome, expected, "{name} {first:#x} with {capability:?}");
    };
    check(None, "read", 0, ALLOW);
    check(None, "mount", 0, PERM);
    check(Some("SYS_ADMIN"), "mount", 0, ALLOW);
    check(None, "clone", 0x0001_1200, ALLOW);
    check(None, "clone", 0x1000_0000, PERM);
    check(None, "clone", 0x0002_0000, PERM);
    check(Some("SYS_ADMIN"), "clone", 0x1000_0000, ALLOW);
    check(None, "clone3", 0, NOSYS);
    check(Some("SYS_ADMIN"), "clone3", 0, ALLOW);
    check(None, "socket", 2, ALLOW);
    check(None, "socket", 38, PERM);
    check(None, "socket", 39, ALLOW);
    check(None, "socket", 40, PERM);
    check(None, "socket", 41, ALLOW);
    check(None, "personality", 0x2_0008, ALLOW);
    check(None, "personality", 0x4_0000, PERM);
    check(None, "ptrace", 0, ALLOW);
    check(None, "keyctl", 0, PERM);
    check(None, "io_uring_setup", 0, PERM);
    check(None, "unshare", 0, PERM);
    check(None, "chroot", 0, PERM);
    check(Some("SYS_CHROOT"), "chroot", 0, ALLOW);
    check(None, "open_tree_attr", 0, NOSYS);
}

#[test]
fn other_architectures_are_killed_and_compatible_ones_are_not() {
    let program = compile(
        &default_profile(),
        &Facts {
            kernel: (6, 1),
            capabilities: 0,
        },
    )
    .unwrap();
    let run = |audit_number, number| {
        run(
            &program,
            Call {
                audit_number,
                number,
                arguments: [0; 6],
            },
        )
    };
    assert_eq!(run(0x1234, 0), 0x8000_0000);
    for architecture in table::of_this_machine() {
        let read = table::numbers(*architecture)
            .find(|(name, _)| *name == "read")
            .unwrap()
            .1;
        assert_eq!(
            run(architecture.audit_number(), read),
            ALLOW,
            "{architecture:?}"
        );
    }
    // x32 numbers are not x86_64 numbers.
    assert_eq!(
        run(Architecture::X86_64.audit_number(), X32_BIT + 0xffff),
        NOSYS
    );
    assert_eq!(run(Architecture::X86_64.audit_number(), 0x3fff_ffff), NOSYS);
}

#[test]
fn the_default_filter_is_short() {
    let program = compile(
        &default_profile(),
        &Facts {
            kernel: (6, 18),
            capabilities: 0xa804_25fb,
        },
    )
    .unwrap();
    assert!(program.len() < 800, "{}", program.len());
}

#[test]
fn every_name_of_the_default_profile_is_known_or_of_another_architecture() {
    let known: Vec<&str> = [
        Architecture::X86_64,
        Architecture::X86,
        Architecture::Aarch64,
    ]
    .into_iter()
    .flat_map(|architecture| table::numbers(architecture).map(|(name, _)| name))
    .collect();
    let elsewhere = [
        "riscv_",
        "arm_",
        "breakpoint",
        "cacheflush",
        "set_tls",
        "sync_file_range2",
        "utimensat_time64",
        "send",
        "recv",
    ];
    for name in default_profile().rules.iter().flat_map(|rule| &rule.names) {
        let of_another = elsewhere.iter().any(|prefix| name.starts_with(prefix));
        assert!(known.contains(&name.as_str()) || of_another, "{name}");
    }
}

#[test]
fn profiles_are_read_from_dockers_json() {
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13, "archMap": [], "syscalls": [
        {"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
        {"name": "socket", "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "args": null, "includes": {"caps": ["CAP_SYS_ADMIN"], "minKernel": "5.2"}}
    ]}"#;
    let profile = Profile::from_json(text).unwrap();
    assert_eq!(profile.default_action, Action::Errno(13));
    assert_eq!(profile.rules[1].names, ["socket"]);
    assert_eq!(
        profile.rules[1].arguments[0].comparison,
        Comparison::MaskedEqual
    );
    assert_eq!(profile.rules[2].includes.min_kernel, Some((5, 2)));
    assert!(
        compile(
            &profile,
            &Facts {
                kernel: (6, 1),
                capabilities: 0
            }
        )
        .is_ok()
    );
    let wrong = |text: &str| Profile::from_json(text).unwrap_err().to_string();
    assert!(wrong("{}").starts_with("decoding the seccomp profile failed: missing field"));
    assert_eq!(
        wrong(r#"{"defaultAction": "SCMP_ACT_MAYBE"}"#),
        "the seccomp profile has an unknown action \"SCMP_ACT_MAYBE\""
    );
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Allow),
        Just(Action::Log),
        (0_u16..200).prop_map(Action::Errno),
        Just(Action::KillThread),
    ]
}

fn any_argument() -> impl Strategy<Value = Argument> {
    let comparison = prop_oneof![
        Just(Comparison::Equal),
        Just(Comparison::NotEqual),
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Greater),
        Just(Comparison::GreaterOrEqual),
        Just(Comparison::MaskedEqual),
    ];
    (0_u8..6, comparison, any_value(), any_value()).prop_map(
        |(index, comparison, value, second_value)| Argument {
            index,
            comparison,
            value,
            second_value,
        },
    )
}

/// Few values, so that comparisons meet their limits; both halves matter.
fn any_value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..4,
        (0_u64..4).prop_map(|value| value << 32),
        (0_u64..3, 0_u64..3).prop_map(|(upper, lower)| upper << 32 | lower),
        Just(u64::MAX),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let names: Vec<&'static str> = table::numbers(Architecture::X86_64)
        .map(|(name, _)| name)
        .collect();
    let names = proptest::collection::vec(proptest::sample::select(names), 1..12);
    (
        names,
        any_action(),
        proptest::collection::vec(any_argument(), 0..4),
        0_u64..4,
        0_u64..4,
    )
        .prop_map(|(names, action, arguments, needs, shuns)| Rule {
            names: names.into_iter().map(str::to_owned).collect(),
            action,
            arguments,
            includes: Condition {
                capabilities: needs & 1,
                ..Condition::default()
            },
            excludes: Condition {
                capabilities: shuns & 2,
                ..Condition::default()
            },
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_program_agrees_with_the_rules(
        default_action in any_action(),
        rules in proptest::collection::vec(any_rule(), 0..8),
        capabilities in 0_u64..4,
        arguments in proptest::array::uniform6(any_value()),
        odd_number: u32,
    ) {
        let profile = Profile { default_action, rules };
        let facts = Facts { kernel: (6, 1), capabilities };
        let program = compile(&profile, &facts).unwrap();
        for architecture in table::of_this_machine() {
            let first = if *architecture == Architecture::X32 { X32_BIT } else { 0 };
            // The calls that the rules name, what is beside them, and any.
            let all: Vec<(&str, u32)> = table::numbers(*architecture).collect();
            let named = profile.rules.iter().flat_map(|rule| &rule.names);
            let named = named.filter_map(|name| all.iter().find(|(other, _)| other == name));
            let beside = named.flat_map(|(_, number)| [number.saturating_sub(1).max(first), *number, number + 1]);
            let odd = (odd_number % X32_BIT) | first;
            for number in beside.chain([first, odd]) {
                let call = Call { audit_number: architecture.audit_number(), number, arguments };
                let wanted = expected(&profile, &facts, *architecture, call);
                prop_assert_eq!(run(&program, call), wanted, "{:?} {:?}", architecture, call);
            }
        }
    }
}
