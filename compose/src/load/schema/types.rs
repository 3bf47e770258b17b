//! The vocabulary of the table.

/// Null is accepted.
pub(crate) const NULL: u8 = 1;
/// Booleans are accepted.
pub(crate) const BOOL: u8 = 2;
/// Integers are accepted.
pub(crate) const INT: u8 = 4;
/// Integers and fractions are accepted.
pub(crate) const NUMBER: u8 = 8 | INT;
/// Strings are accepted.
pub(crate) const STRING: u8 = 16;

/// What a string becomes after interpolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cast {
    None,
    Int,
    Float,
    Bool,
    /// Microseconds, as a number or as a duration with its unit.
    Microseconds,
}

/// A limit on a scalar that is checked in every state of the merged file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    None,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Accepted by the function; the text says what is expected.
    Matching(fn(&str) -> bool, &'static str),
    /// An integer in this range.
    Between(i64, i64),
    /// No number that is written with a fraction or an exponent, even a whole one.
    NoFraction,
}

/// A grammar of a scalar that is checked once, in the final state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    None,
    Duration,
    Bytes,
}

/// How a later file's value meets an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Mappings merge, lists append, scalars are replaced.
    Natural,
    /// Replaced whole, even by null.
    Replace,
    /// Both as lists of `key=value`, appended; mappings merge as mappings.
    KeyValues,
    /// A string is a context.
    Build,
    /// A list means "started".
    DependsOn,
    /// A list means "no options".
    NamedOptions,
    /// Merged only for the same driver.
    Logging,
    /// Appended without exact repetitions.
    ExtraHosts,
    /// Pools merge by subnet.
    AddressPools,
}

/// What makes two entries of a list the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unify {
    None,
    /// The text before `=`.
    KeyValue,
    /// The path in the container.
    VolumeTarget,
    DeviceTarget,
    /// The path in the container below the given directory.
    FileTarget(&'static str),
    Expose,
    Port,
    /// The file's path.
    EnvFile,
}

/// Which values of an attribute the canonical form leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Empty ones: null, false, 0, `""`, empty lists and maps; not an empty section.
    OmitEmpty,
    /// The same and a duration of zero.
    OmitZero,
    /// Only null.
    Keep,
    /// Empty ones and an empty section.
    OmitEmptySection,
}

/// What may stand at one place of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Type {
    /// Accepted scalars.
    pub(crate) scalars: u8,
    /// Items, when a list is accepted.
    pub(crate) items: Option<&'static Type>,
    /// No item may be there twice.
    pub(crate) unique_items: bool,
    /// Entries, when a mapping is accepted.
    pub(crate) fields: Option<&'static Fields>,
    pub(crate) rule: Rule,
    pub(crate) format: Format,
    pub(crate) cast: Cast,
    pub(crate) merge: Merge,
    pub(crate) unify: Unify,
    pub(crate) presence: Presence,
}

/// The entries of a mapping.
#[derive(Debug)]
pub(crate) struct Fields {
    /// Attributes by name.
    pub(crate) named: &'static [(&'static str, Type)],
    /// Where each name is in `named`.
    slots: Slots,
    /// Attributes that must be there.
    pub(crate) required: &'static [&'static str],
    /// Further entries, named by the user.
    pub(crate) open: Option<Open>,
    /// `x-…` entries are accepted.
    pub(crate) extensions: bool,
}

/// Entries named by the user.
#[derive(Debug)]
pub(crate) struct Open {
    /// Which names are accepted.
    pub(crate) name: fn(&str) -> bool,
    /// What an entry is, for messages (`service`).
    pub(crate) noun: &'static str,
    /// The entry.
    pub(crate) value: &'static Type,
}

impl Type {
    pub(crate) const fn scalar(scalars: u8) -> Self {
        Self {
            scalars,
            items: None,
            unique_items: false,
            fields: None,
            rule: Rule::None,
            format: Format::None,
            cast: Cast::None,
            merge: Merge::Natural,
            unify: Unify::None,
            presence: Presence::OmitEmpty,
        }
    }

    pub(crate) const fn list(items: &'static Type) -> Self {
        Self::scalar(0).or_list(items)
    }

    pub(crate) const fn unique_list(items: &'static Type) -> Self {
        Self {
            unique_items: true,
            ..Self::list(items)
        }
    }

    pub(crate) const fn map(fields: &'static Fields) -> Self {
        Self::scalar(0).or_map(fields)
    }

    pub(crate) const fn or_null(self) -> Self {
        Self {
            scalars: self.scalars | NULL,
            ..self
        }
    }

    pub(crate) const fn or_scalar(self, scalars: u8) -> Self {
        Self {
            scalars: self.scalars | scalars,
            ..self
        }
    }

    pub(crate) const fn or_list(self, items: &'static Type) -> Self {
        Self {
            items: Some(items),
            ..self
        }
    }

    pub(crate) const fn or_map(self, fields: &'static Fields) -> Self {
        Self {
            fields: Some(fields),
            ..self
        }
    }

    pub(crate) const fn rule(self, rule: Rule) -> Self {
        Self { rule, ..self }
    }

    pub(crate) const fn words(self, words: &'static [&'static str]) -> Self {
        self.rule(Rule::Words(words))
    }

    pub(crate) const fn format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    pub(crate) const fn cast(self, cast: Cast) -> Self {
        Self { cast, ..self }
    }

    pub(crate) const fn merge(self, merge: Merge) -> Self {
        Self { merge, ..self }
    }

    pub(crate) const fn unify(self, unify: Unify) -> Self {
        Self { unify, ..self }
    }

    pub(crate) const fn presence(self, presence: Presence) -> Self {
        Self { presence, ..self }
    }

    /// Whether only strings are accepted.
    pub(crate) fn is_text(&self) -> bool {
        self.scalars & !NULL == STRING && self.items.is_none() && self.fields.is_none()
    }

    /// The type of an entry of this mapping; none when there is no such entry.
    pub(crate) fn entry(&self, name: &str) -> Option<&'static Type> {
        let fields = self.fields?;
        if let Some(found) = fields.find(name) {
            return Some(found);
        }
        if fields.extensions && name.starts_with("x-") {
            return Some(&ANY);
        }
        fields
            .open
            .as_ref()
            .filter(|open| (open.name)(name))
            .map(|open| open.value)
    }

    /// The same, also for an entry whose name is not a good one.
    pub(crate) fn entry_or_open(&self, name: &str) -> Option<&'static Type> {
        let open = || Some(self.fields?.open.as_ref()?.value);
        self.entry(name).or_else(open)
    }
}

impl Fields {
    pub(crate) const fn closed(named: &'static [(&'static str, Type)]) -> Self {
        Self {
            named,
            slots: Slots::of(named),
            required: &[],
            open: None,
            extensions: true,
        }
    }

    pub(crate) const fn open(open: Open) -> Self {
        Self {
            named: &[],
            slots: Slots::of(&[]),
            required: &[],
            open: Some(open),
            extensions: false,
        }
    }

    /// Also attributes that are known by name.
    pub(crate) const fn named(self, named: &'static [(&'static str, Type)]) -> Self {
        Self {
            named,
            slots: Slots::of(named),
            ..self
        }
    }

    pub(crate) const fn required(self, required: &'static [&'static str]) -> Self {
        Self { required, ..self }
    }

    pub(crate) const fn without_extensions(self) -> Self {
        Self {
            extensions: false,
            ..self
        }
    }

    /// The attribute of a name.
    fn find(&self, name: &str) -> Option<&'static Type> {
        let mut slot = Slots::first(name.as_bytes());
        loop {
            let place = self.slots.places[slot].checked_sub(1)?;
            let (known, found) = &self.named[usize::from(place)];
            if *known == name {
                return Some(found);
            }
            slot = (slot + 1) % Slots::COUNT;
        }
    }
}

/// A hash table of attribute names, made by the compiler: every phase looks up every key of every service.
#[derive(Debug, Clone, Copy)]
struct Slots {
    /// One more than the place in the list of attributes; 0 is empty.
    places: [u8; Slots::COUNT],
}

impl Slots {
    const COUNT: usize = 256;

    const fn of(named: &'static [(&'static str, Type)]) -> Self {
        assert!(
            named.len() < Self::COUNT,
            "an empty slot ends every search, and a place is one byte"
        );
        let mut places = [0; Self::COUNT];
        let mut index = 0;
        while index < named.len() {
            let mut slot = Self::first(named[index].0.as_bytes());
            while places[slot] != 0 {
                slot = (slot + 1) % Self::COUNT;
            }
            index += 1;
            places[slot] = index as u8;
        }
        Self { places }
    }

    /// Where the search for a name starts.
    const fn first(name: &[u8]) -> usize {
        let length = name.len();
        if length == 0 {
            return 0;
        }
        let letters = [name[0], name[length / 2], name[length - 1]];
        let mut hash = length;
        let mut index = 0;
        while index < letters.len() {
            hash = hash.wrapping_mul(37).wrapping_add(letters[index] as usize);
            index += 1;
        }
        (hash ^ (hash >> 8)) % Self::COUNT
    }
}

/// Names of services, networks, volumes, secrets, configs, models.
pub(crate) fn is_resource_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

pub(crate) fn is_any_name(_: &str) -> bool {
    true
}

static ANY_FIELDS: Fields = Fields::open(Open {
    name: is_any_name,
    noun: "key",
    value: &ANY,
});

/// Anything.
pub(crate) static ANY: Type = Type::scalar(NULL | BOOL | NUMBER | STRING)
    .or_list(&ANY)
    .or_map(&ANY_FIELDS);
