//! `/etc/passwd` and `/etc/group` of a container, which are hostile: read bounded, parsed without allocation.
//!
//! The rules are Docker's: a name matches an entry's name or the decimal form of its number; a number that
//! is in no entry is taken as it is; the first match wins. Lines that are no entries are skipped.

/// The highest number that Docker accepts for a user or group.
pub const MAX_ID: u32 = i32::MAX as u32;

/// An entry of `/etc/passwd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User<'file> {
    /// Login name.
    pub name: &'file [u8],
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Home directory.
    pub home: &'file [u8],
}

/// An entry of `/etc/group`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group<'file> {
    /// Name.
    pub name: &'file [u8],
    /// Group id.
    pub gid: u32,
    /// Members' names, separated by commas.
    members: &'file [u8],
}

impl<'file> Group<'file> {
    /// Whether the user of this name is a member.
    pub fn has_member(&self, name: &[u8]) -> bool {
        self.members
            .split(|byte| *byte == b',')
            .any(|member| member == name)
    }
}

/// The entries of a passwd file.
pub fn users(file: &[u8]) -> impl Iterator<Item = User<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let uid = number(fields.nth(1)?)?;
        let gid = number(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        Some(User {
            name,
            uid,
            gid,
            home,
        })
    })
}

/// The entries of a group file.
pub fn groups(file: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let gid = number(fields.nth(1)?)?;
        Some(Group {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    })
}

/// Finds the user that `wanted`, a name or number, means.
pub fn find_user<'file>(file: &'file [u8], wanted: &[u8]) -> Option<User<'file>> {
    users(file).find(|user| user.name == wanted || is_decimal_of(wanted, user.uid))
}

/// Finds the group that `wanted`, a name or number, means.
pub fn find_group<'file>(file: &'file [u8], wanted: &[u8]) -> Option<Group<'file>> {
    groups(file).find(|group| group.name == wanted || is_decimal_of(wanted, group.gid))
}

/// A decimal number without sign that fits into 32 bits.
pub fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    text.iter().try_fold(0_u32, |value, digit| {
        value.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
    })
}

fn is_decimal_of(text: &[u8], id: u32) -> bool {
    (text == b"0" || !text.starts_with(b"0")) && number(text) == Some(id)
}

/// Lines without blanks around them, without comments and empty ones.
fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &[u8] = b"# comment\nroot:x:0:0:root:/root:/bin/sh\n\n\
        app:x:1000:1001:,,,:/home/app:/bin/sh\r\n7:x:1234:5::/seven:\n\
        broken\nnobody:x:65534:65534\nbig:x:4294967296:0::/:\nneg:x:-1:0::/:\n";
    const GROUP: &[u8] =
        b"root:x:0:\nwheel:x:10:root,app\napps:x:1001:\n12:x:44:apple,app\nbad:x:y:app\n";

    #[test]
    fn users_are_found_by_name_or_number() {
        let check = |wanted: &str, expected: Option<(u32, u32, &str)>| {
            let found = find_user(PASSWD, wanted.as_bytes());
            let seen = found.map(|user| (user.uid, user.gid, String::from_utf8_lossy(user.home)));
            assert_eq!(seen, expected.map(|(u, g, h)| (u, g, h.into())), "{wanted}");
        };
        check("root", Some((0, 0, "/root")));
        check("0", Some((0, 0, "/root")));
        check("00", None);
        check("app", Some((1000, 1001, "/home/app")));
        check("1000", Some((1000, 1001, "/home/app")));
        check("7", Some((1234, 5, "/seven")));
        check("nobody", Some((65534, 65534, "")));
        check("broken", None);
        check("big", None);
        check("neg", None);
        check("", None);
        check("#", None);
    }

    #[test]
    fn groups_and_members() {
        assert_eq!(find_group(GROUP, b"wheel").map(|group| group.gid), Some(10));
        assert_eq!(find_group(GROUP, b"12").map(|group| group.gid), Some(44));
        assert_eq!(find_group(GROUP, b"bad"), None);
        let of_app: Vec<u32> = groups(GROUP)
            .filter(|group| group.has_member(b"app"))
            .map(|group| group.gid)
            .collect();
        assert_eq!(of_app, [10, 44]);
        assert!(!groups(GROUP).any(|group| group.has_member(b"appl")));
    }

    #[test]
    fn numbers_are_decimal_and_fit() {
        assert_eq!(number(b"4294967295"), Some(u32::MAX));
        for wrong in [
            &b"4294967296"[..],
            b"",
            b"+1",
            b"-1",
            b"1x",
            b" 1",
            b"\xd9\xa1",
        ] {
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_file_is_parsed_without_panic_and_entries_are_found_again(
            file in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b':'), Just(b'\n'), 48_u8..58], 0..400)
        ) {
            for user in users(&file) {
                let found = find_user(&file, user.name);
                prop_assert!(found.is_some());
            }
            for group in groups(&file) {
                prop_assert!(find_group(&file, group.name).is_some());
            }
        }

        #[test]
        fn a_well_formed_entry_is_read_back(
            name in "[a-z_][a-z0-9_-]{0,30}", uid: u32, gid: u32, home in "/[a-z/]{0,40}"
        ) {
            let file = format!("x:x:{}:1::/:\n{name}:x:{uid}:{gid}:gecos:{home}:/bin/sh\n", uid.wrapping_add(1));
            let expected = User { name: name.as_bytes(), uid, gid, home: home.as_bytes() };
            if name != "x" {
                prop_assert_eq!(find_user(file.as_bytes(), name.as_bytes()), Some(expected));
            }
            prop_assert_eq!(find_user(file.as_bytes(), uid.to_string().as_bytes()), Some(expected));
        }
    }
}
