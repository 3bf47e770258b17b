//! Docker's shell words, case by case.

use proptest::prelude::*;

use super::*;

fn variables() -> BTreeMap<String, String> {
    [
        ("PWD", "/home"),
        ("SHELL", "bash"),
        ("EMPTY", ""),
        ("foo", "bar"),
        ("path", "/usr/lib/libc.so.6"),
        ("unicode", "grüße"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// Expands with the variables above; an error begins with `!`.
fn expand(word: &str) -> String {
    match Lexer::new('\\').expand(word, &variables()) {
        Ok(expanded) => expanded.text,
        Err(why) => format!("!{}", why.split_once(": ").map_or("", |(_, why)| why)),
    }
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (word, expected) in cases {
        assert_eq!(expand(word), *expected, "{word}");
    }
}

#[test]
fn quotes_and_escapes() {
    check(&[
        ("hello", "hello"),
        ("he'll'o", "hello"),
        ("he\\'llo", "he'llo"),
        ("abc\\tdef", "abctdef"),
        ("'abc\\tdef'", "abc\\tdef"),
        ("\"abc\\tdef\"", "abc\\tdef"),
        ("\"abc\\$def\\\"\\\\\"", "abc$def\"\\"),
        ("abc\\", "abc"),
        (
            "'unclosed",
            "!unexpected end of statement while looking for matching single-quote",
        ),
        (
            "\"unclosed",
            "!unexpected end of statement while looking for matching double-quote",
        ),
        ("'$PWD'", "$PWD"),
        ("\"$PWD\"", "/home"),
        ("\\$PWD", "$PWD"),
        ("a b  c", "a b  c"),
    ]);
}

#[test]
fn variables_and_defaults() {
    check(&[
        ("$PWD", "/home"),
        ("${PWD}x", "/homex"),
        ("$PWDx", ""),
        ("$", "$"),
        ("he$.xx", "he$.xx"),
        ("he$1x", "hex"),
        ("$@x", "x"),
        ("${", "!syntax error: missing '}'"),
        ("${}", "!syntax error: bad substitution"),
        ("${PWD", "!syntax error: missing '}'"),
        ("${PWD!x}", "!unsupported modifier (!) in substitution"),
        ("${unset:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${unset-d}", "d"),
        ("${foo:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${unset:+x}", ""),
        ("${foo:?no}", "bar"),
        ("${unset:?give it}", "!unset: give it"),
        ("${unset?}", "!unset: is not allowed to be unset"),
        ("${EMPTY:?}", "!EMPTY: is not allowed to be empty"),
        ("${EMPTY?}", ""),
        ("${unset:-${also:-$foo}}", "bar"),
        ("${unset:-\"a b\"}", "a b"),
        ("${foo:#x}", "!unsupported modifier (:#) in substitution"),
    ]);
}

#[test]
fn patterns() {
    check(&[
        ("${path#*/}", "usr/lib/libc.so.6"),
        ("${path##*/}", "libc.so.6"),
        ("${path%.*}", "/usr/lib/libc.so"),
        ("${path%%.*}", "/usr/lib/libc"),
        ("${path%/*}", "/usr/lib"),
        ("${path#nothing}", "/usr/lib/libc.so.6"),
        ("${path/lib/LIB}", "/usr/LIB/libc.so.6"),
        ("${path//lib/LIB}", "/usr/LIB/LIBc.so.6"),
        ("${path//\\//-}", "-usr-lib-libc.so.6"),
        ("${path/l?b/X}", "/usr/X/libc.so.6"),
        ("${path/*/X}", "X"),
        ("${path/.so*/}", "/usr/lib/libc"),
        ("${unicode%e}", "grüß"),
        ("${unicode#gr?}", "ße"),
        ("${unset##x}", ""),
        ("${unset/x/y}", ""),
        ("${path/x}", "!syntax error: missing '/' in ${}"),
        (
            "${path#a\\b}",
            "!invalid pattern (a\\b) in substitution: invalid escape '\\b'",
        ),
    ]);
}

#[test]
fn words_split_after_the_expansion() {
    let words = |word: &str| {
        Lexer::new('\\')
            .expand(word, &BTreeMap::from([("a".to_owned(), "x y".to_owned())]))
            .unwrap()
            .words
    };
    assert_eq!(words("one two"), ["one", "two"]);
    assert_eq!(words("$a z"), ["x", "y", "z"]);
    assert_eq!(words("\"$a\" z"), ["x y", "z"]);
    assert_eq!(words("a\\ b c"), ["a b", "c"]);
}

#[test]
fn a_backtick_may_escape() {
    let expanded = Lexer::new('`')
        .expand("c:\\dir `$PWD", &variables())
        .unwrap();
    assert_eq!(expanded.text, "c:\\dir $PWD");
}

#[test]
fn tells_which_variables_were_used() {
    let expanded = Lexer::new('\\')
        .expand("$foo ${nope:-x}", &variables())
        .unwrap();
    assert_eq!(Vec::from_iter(expanded.matched), ["foo"]);
    assert_eq!(Vec::from_iter(expanded.unmatched), ["nope"]);
}

#[test]
fn hostile_words_are_refused() {
    let deep = format!("{}x{}", "${a:-".repeat(100_000), "}".repeat(100_000));
    assert!(expand(&deep).starts_with('!'));
    let long: BTreeMap<_, _> = [("a".to_owned(), "x".repeat(600_000))].into();
    assert!(Lexer::new('\\').expand("$a$a$a", &long).is_err());
    assert!(Lexer::new('\\').expand("\"$a$a$a\"", &long).is_err());
}

proptest! {
    #[test]
    fn no_word_panics(word in "[a\\\\\"'${}:+?#%/*<` -]{0,40}") {
        let _ = Lexer::new('\\').expand(&word, &variables());
        let mut lexer = Lexer::new('`');
        lexer.keep_quotes = true;
        lexer.keep_escapes = true;
        lexer.keep_unset = true;
        let _ = lexer.expand(&word, &variables());
    }

    #[test]
    fn plain_text_stays(word in "[a-zA-Z0-9/._= ]{0,40}") {
        prop_assert_eq!(Lexer::new('\\').expand(&word, &Nothing).unwrap().text, word);
    }

    #[test]
    fn kept_quotes_and_escapes_keep_the_text(word in "[a-z'\"\\\\ ]{0,30}") {
        let lexer = Lexer { keep_quotes: true, keep_escapes: true, ..Lexer::new('\\') };
        if let Ok(expanded) = lexer.expand(&word, &Nothing) {
            prop_assert_eq!(expanded.text, word);
        }
    }

    #[test]
    fn trimming_and_what_was_trimmed_make_the_value(value in "[ab/]{0,12}", pattern in "[ab/*?]{0,5}") {
        let pattern = Pattern::parse(&pattern).unwrap();
        for longest in [false, true] {
            prop_assert!(value.ends_with(&pattern.trim_start(&value, longest)));
            prop_assert!(value.starts_with(&pattern.trim_end(&value, longest)));
        }
        prop_assert!(pattern.trim_start(&value, true).len() <= pattern.trim_start(&value, false).len());
    }
}
