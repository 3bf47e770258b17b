//! From a profile to BPF.
//!
//! For each architecture the numbers are cut into ranges with one outcome each, and found by binary search: the
//! kernel runs about ten instructions for a call instead of hundreds. A call with conditions on arguments
//! is a range of its own whose outcome is a chain of comparisons.

use std::collections::BTreeMap;

use hoist_kernel::init::program::Instruction;

use super::table::{self, Architecture, X32_BIT};
use super::{Action, Argument, Comparison, Facts, Profile, Rule, SeccompError};

/// `BPF_MAXINSNS` of linux/bpf_common.h.
const MAX_INSTRUCTIONS: usize = 4096;

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// ENOSYS of asm-generic/errno.h.
const NO_SYSTEM_CALL: u16 = 38;

/// What happens to a number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome<'profile> {
    /// Always the same.
    Always(Action),
    /// The first chain of comparisons that holds, else the action.
    Depends(Vec<(&'profile [Argument], Action)>, Action),
}

/// Compiles a profile for a container on this machine.
///
/// A call whose number is beyond all that the profile names is answered ENOSYS instead of the default errno, as
/// runc does: a C library that tries a new call falls back only then.
///
/// # Errors
/// [`SeccompError::TooLong`].
pub fn compile(profile: &Profile, facts: &Facts) -> Result<Vec<Instruction>, SeccompError> {
    let rules: Vec<&Rule> = profile
        .rules
        .iter()
        .filter(|rule| rule.applies(facts))
        .collect();
    let architectures = table::of_this_machine();
    let mut code = vec![statement(LOAD, ARCHITECTURE)];
    // x32 shares the audit number of x86_64 and is told apart by its numbers, which are all beyond.
    let mut audit_numbers: Vec<u32> = Vec::new();
    for architecture in architectures {
        let number = architecture.audit_number();
        if audit_numbers.contains(&number) {
            continue;
        }
        audit_numbers.push(number);
        let sharing = architectures
            .iter()
            .filter(|other| other.audit_number() == number);
        let ranges = sharing
            .flat_map(|one| ranges(*one, &rules, profile.default_action))
            .collect::<Vec<_>>();
        let body = search(&merge(ranges));
        code.push(jump(JUMP_EQUAL, number, 1, 0));
        code.extend(skip(body.len() + 1));
        code.push(statement(LOAD, NUMBER));
        code.extend(body);
    }
    code.push(finish(Action::KillProcess));
    if code.len() > MAX_INSTRUCTIONS {
        return Err(SeccompError::TooLong(code.len()));
    }
    Ok(code)
}

/// The numbers of an architecture in order: each range by its first number.
fn ranges<'profile>(
    architecture: Architecture,
    rules: &[&'profile Rule],
    default: Action,
) -> Vec<(u32, Outcome<'profile>)> {
    let outcomes = outcomes(architecture, rules, default);
    let first = if architecture == Architecture::X32 {
        X32_BIT
    } else {
        0
    };
    let mut ranges = vec![(first, Outcome::Always(default))];
    let mut beyond = first;
    for (number, outcome) in outcomes {
        if number > beyond {
            ranges.push((beyond, Outcome::Always(default)));
        }
        ranges.push((number, outcome));
        beyond = number + 1;
    }
    let last = match default {
        Action::Errno(_) => Action::Errno(NO_SYSTEM_CALL),
        other => other,
    };
    ranges.push((beyond, Outcome::Always(last)));
    ranges
}

fn outcomes<'profile>(
    architecture: Architecture,
    rules: &[&'profile Rule],
    default: Action,
) -> BTreeMap<u32, Outcome<'profile>> {
    let numbers: BTreeMap<&str, u32> = table::numbers(architecture).collect();
    let mut found: BTreeMap<u32, Outcome<'profile>> = BTreeMap::new();
    for rule in rules {
        for number in rule
            .names
            .iter()
            .filter_map(|name| numbers.get(name.as_str()))
        {
            let outcome = found
                .entry(*number)
                .or_insert_with(|| Outcome::Depends(Vec::new(), default));
            // What is decided without conditions stays.
            let Outcome::Depends(chains, otherwise) = outcome else {
                continue;
            };
            if !rule.arguments.is_empty() {
                chains.push((&rule.arguments, rule.action));
            } else if chains.is_empty() {
                *outcome = Outcome::Always(rule.action);
            } else if *otherwise == default
                && !matches!(chains.last(), Some((arguments, _)) if arguments.is_empty())
            {
                chains.push((&[], rule.action));
            }
        }
    }
    found
}

/// Drops ranges that are empty or go on with what the one before does.
fn merge(ranges: Vec<(u32, Outcome<'_>)>) -> Vec<(u32, Outcome<'_>)> {
    let mut merged: Vec<(u32, Outcome<'_>)> = Vec::new();
    for (first, outcome) in ranges {
        if merged.last().is_some_and(|(start, _)| *start == first) {
            merged.pop();
        }
        if merged.last().is_none_or(|(_, before)| *before != outcome) {
            merged.push((first, outcome));
        }
    }
    merged
}

/// A tree of comparisons over the number in the accumulator.
fn search(ranges: &[(u32, Outcome<'_>)]) -> Vec<Instruction> {
    match ranges {
        [] => vec![finish(Action::KillProcess)],
        [(_, outcome)] => leaf(outcome),
        _ => {
            let (below, from) = ranges.split_at(ranges.len() / 2);
            let (below, pivot) = (search(below), from[0].0);
            let mut code = match u8::try_from(below.len()) {
                Ok(length) => vec![jump(JUMP_GREATER_OR_EQUAL, pivot, length, 0)],
                // Too far for a conditional jump.
                Err(_) => {
                    let mut code = vec![jump(JUMP_GREATER_OR_EQUAL, pivot, 0, 1)];
                    code.extend(skip(below.len()));
                    code
                }
            };
            code.extend(below);
            code.extend(search(from));
            code
        }
    }
}

fn leaf(outcome: &Outcome<'_>) -> Vec<Instruction> {
    match outcome {
        Outcome::Always(action) => vec![finish(*action)],
        Outcome::Depends(chains, otherwise) => {
            let mut code = Vec::new();
            for (arguments, action) in chains {
                code.extend(chain(arguments, *action));
            }
            code.push(finish(*otherwise));
            code
        }
    }
}

/// Where a comparison goes on.
#[derive(Clone, Copy)]
enum Way {
    /// To the next instruction.
    Next,
    /// Behind this comparison: it holds.
    Holds,
    /// Behind the whole chain: it does not hold.
    Fails,
}

/// An instruction whose jumps are not known yet.
struct Draft {
    code: u16,
    operand: u32,
    ways: Option<(Way, Way)>,
}

/// All comparisons of a rule, then its action.
fn chain(arguments: &[Argument], action: Action) -> Vec<Instruction> {
    let drafts: Vec<Vec<Draft>> = arguments.iter().map(comparison).collect();
    let total: usize = drafts.iter().map(Vec::len).sum::<usize>() + 1;
    let mut code: Vec<Instruction> = Vec::with_capacity(total);
    for draft in drafts {
        let end = code.len() + draft.len();
        for one in draft {
            let here = code.len() + 1;
            // Six arguments of seven instructions at most: every distance fits into a byte.
            let distance = |way| match way {
                Way::Next => 0,
                Way::Holds => u8::try_from(end - here).unwrap_or(u8::MAX),
                Way::Fails => u8::try_from(total - here).unwrap_or(u8::MAX),
            };
            code.push(match one.ways {
                None => statement(one.code, one.operand),
                Some((yes, no)) => jump(one.code, one.operand, distance(yes), distance(no)),
            });
        }
    }
    code.push(finish(action));
    code
}

/// A comparison of 64 bits by two of 32: the upper half decides unless it is equal.
fn comparison(argument: &Argument) -> Vec<Draft> {
    let (upper, lower) = halves(argument.value);
    let place = ARGUMENTS + 8 * u32::from(argument.index);
    let load = |offset| Draft {
        code: LOAD,
        operand: place + offset,
        ways: None,
    };
    let test = |code, operand, yes, no| Draft {
        code,
        operand,
        ways: Some((yes, no)),
    };
    // Little endian, as all of our architectures are.
    let (load_upper, load_lower) = (load(4), load(0));
    use Way::{Fails, Holds, Next};
    let ordered = |greater: Way, code, yes, no| {
        let less = if matches!(greater, Holds) {
            Fails
        } else {
            Holds
        };
        vec![
            load(4),
            test(JUMP_GREATER, upper, greater, Next),
            test(JUMP_EQUAL, upper, Next, less),
            load(0),
            test(code, lower, yes, no),
        ]
    };
    match argument.comparison {
        Comparison::Equal => vec![
            load_upper,
            test(JUMP_EQUAL, upper, Next, Fails),
            load_lower,
            test(JUMP_EQUAL, lower, Holds, Fails),
        ],
        Comparison::NotEqual => vec![
            load_upper,
            test(JUMP_EQUAL, upper, Next, Holds),
            load_lower,
            test(JUMP_EQUAL, lower, Fails, Holds),
        ],
        Comparison::Greater => ordered(Holds, JUMP_GREATER, Holds, Fails),
        Comparison::GreaterOrEqual => ordered(Holds, JUMP_GREATER_OR_EQUAL, Holds, Fails),
        Comparison::Less => ordered(Fails, JUMP_GREATER_OR_EQUAL, Fails, Holds),
        Comparison::LessOrEqual => ordered(Fails, JUMP_GREATER, Fails, Holds),
        Comparison::MaskedEqual => {
            let (wanted_upper, wanted_lower) = halves(argument.second_value);
            let and = |mask| Draft {
                code: AND,
                operand: mask,
                ways: None,
            };
            vec![
                load_upper,
                and(upper),
                test(JUMP_EQUAL, wanted_upper, Next, Fails),
                load_lower,
                and(lower),
                test(JUMP_EQUAL, wanted_lower, Holds, Fails),
            ]
        }
    }
}

fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}

/// A jump over that many instructions.
fn skip(instructions: usize) -> Option<Instruction> {
    Some(statement(JUMP, u32::try_from(instructions).ok()?))
}

/// `SECCOMP_RET_*` of linux/seccomp.h.
fn finish(action: Action) -> Instruction {
    let value = match action {
        Action::KillProcess => 0x8000_0000,
        Action::KillThread => 0,
        Action::Trap => 0x0003_0000,
        Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
        Action::Trace(value) => 0x7ff0_0000 | u32::from(value),
        Action::Log => 0x7ffc_0000,
        Action::Allow => 0x7fff_0000,
    };
    statement(RETURN, value)
}

fn statement(code: u16, operand: u32) -> Instruction {
    jump(code, operand, 0, 0)
}

fn jump(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        operand,
    }
}
