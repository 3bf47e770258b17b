//! `--chown` and `--chmod`: names of the image's own users, and modes in letters.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use hoist_kernel::path::Root;
use rustix::fs::{Mode, OFlags};

use super::error::BuildError;

/// The longest `/etc/passwd` or `/etc/group` that is read.
const MAX_FILE: u64 = 4 << 20;

/// User and group numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Owner {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// Finds `user[:group]` in the image's files. A name without a group brings its own group, a number the group of the same number
/// (as BuildKit does).
pub(crate) fn find(root: &Root, text: &str) -> Result<Owner, BuildError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let mut owner = match user.parse() {
        _ if user.is_empty() => Owner::default(),
        Ok(number) => Owner {
            user: number,
            group: number,
        },
        Err(_) => find_user(root, user)?,
    };
    if let Some(group) = group {
        owner.group = match group.parse() {
            Ok(number) => number,
            Err(_) => find_group(root, group)?,
        };
    }
    Ok(owner)
}

fn find_user(root: &Root, name: &str) -> Result<Owner, BuildError> {
    let text = read(root, "/etc/passwd")?;
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let user = fields.nth(1)?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(Owner { user, group })
    });
    found.ok_or_else(|| {
        BuildError::Refused(format!(
            "unable to find user {name}: no matching entries in passwd file"
        ))
    })
}

fn find_group(root: &Root, name: &str) -> Result<u32, BuildError> {
    let text = read(root, "/etc/group")?;
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        fields.nth(1)?.parse().ok()
    });
    found.ok_or_else(|| {
        BuildError::Refused(format!(
            "unable to find group {name}: no matching entries in group file"
        ))
    })
}

fn read(root: &Root, path: &str) -> Result<String, BuildError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match root.open_beneath(Path::new(path), flags, Mode::empty()) {
        Ok(file) => file,
        // An image without the file has no names.
        Err(error) if error.errno == rustix::io::Errno::NOENT => return Ok(String::new()),
        Err(error) => return Err(BuildError::kernel("open", path, &error)),
    };
    let mut text = Vec::new();
    File::from(file)
        .take(MAX_FILE)
        .read_to_end(&mut text)
        .map_err(|error| BuildError::io("read", path, error))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Changes permission bits as chmod(1) does with letters: `u=rwX,go=rX`, `a+x`, `+t`.
pub(crate) fn symbolic(text: &str, mode: u32, is_directory: bool) -> Result<u32, BuildError> {
    let invalid = || {
        BuildError::Refused(format!(
            "invalid --chmod value {text:?}: expected octal bits or letters as u=rw,go=r"
        ))
    };
    let mut mode = mode & 0o7777;
    for clause in text.split(',') {
        let operator = clause.find(['+', '-', '=']).ok_or_else(invalid)?;
        let mut who = 0;
        for letter in clause[..operator].chars() {
            who |= match letter {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o1007,
                'a' => 0o7777,
                _ => return Err(invalid()),
            };
        }
        if who == 0 {
            who = 0o7777;
        }
        let mut rest = &clause[operator..];
        while let Some(action) = rest.chars().next() {
            let end = rest[1..]
                .find(['+', '-', '='])
                .map_or(rest.len(), |at| at + 1);
            let bits = permissions(&rest[1..end], mode, is_directory).ok_or_else(invalid)? & who;
            mode = match action {
                '+' => mode | bits,
                '-' => mode & !bits,
                // Numbers do not clear a directory's set-id bits, letters do.
                _ => mode & !who | bits,
            };
            rest = &rest[end..];
        }
    }
    Ok(mode)
}

fn permissions(letters: &str, mode: u32, is_directory: bool) -> Option<u32> {
    let mut bits = 0;
    for letter in letters.chars() {
        bits |= match letter {
            'r' => 0o444,
            'w' => 0o222,
            'x' => 0o111,
            'X' if is_directory || mode & 0o111 != 0 => 0o111,
            'X' => 0,
            's' => 0o6000,
            't' => 0o1000,
            'u' => spread(mode >> 6 & 7),
            'g' => spread(mode >> 3 & 7),
            'o' => spread(mode & 7),
            _ => return None,
        };
    }
    Some(bits)
}

fn spread(bits: u32) -> u32 {
    bits << 6 | bits << 3 | bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_found_in_the_image() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/:\nbad:x:y:z\n";
        std::fs::write(place.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(place.path().join("etc/group"), "staff:x:50:\n").unwrap();
        let root = Root::open(place.path()).unwrap();
        let check = |text: &str, user: u32, group: u32| {
            assert_eq!(find(&root, text).unwrap(), Owner { user, group }, "{text}");
        };
        check("app", 1000, 1001);
        check("7", 7, 7);
        check("7:8", 7, 8);
        check("app:staff", 1000, 50);
        check(":staff", 0, 50);
        check("app:", 1000, 1001);
        for missing in ["nobody", "bad", "app:none", "-1"] {
            assert!(find(&root, missing).is_err(), "{missing}");
        }
    }

    #[test]
    fn modes_in_letters_are_those_of_chmod() {
        let check = |text: &str, mode: u32, directory: bool, expected: u32| {
            let found = symbolic(text, mode, directory).unwrap();
            assert_eq!(found, expected, "{text}: {found:o}");
        };
        check("u=rwX,go=rX", 0o600, false, 0o644);
        check("u=rwX,go=rX", 0o700, true, 0o755);
        check("a+x", 0o644, false, 0o755);
        check("go-rwx", 0o777, false, 0o700);
        check("+t", 0o755, true, 0o1755);
        check("u+s", 0o755, false, 0o4755);
        check("g=u", 0o640, false, 0o660);
        check("u=r+w", 0o777, false, 0o677);
        for bad in ["", "u", "u=z", "k+x", "755x"] {
            assert!(symbolic(bad, 0, false).is_err(), "{bad}");
        }
    }
}
