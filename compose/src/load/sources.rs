//! The rim: the only part of loading that reads files, and the rules by which they are found.

use std::fmt::Debug;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};

use super::LoadOptions;
use super::diagnostic::{Diagnostic, Fatal, Location};
use super::dotenv::{self, Parsed};
use super::interpolate::{Environment, missing_variable};
use super::node::{SourceMap, Span};

/// Where files come from.
pub trait Files: Debug {
    /// The content of a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// What is at the path, following symbolic links; none when there is nothing.
    fn kind(&self, path: &Path) -> Option<FileKind>;

    /// The path without symbolic links; none when there is nothing there.
    fn canonical(&self, path: &Path) -> Option<PathBuf>;

    /// All of standard input.
    ///
    /// # Errors
    /// As the operating system says.
    fn read_stdin(&self) -> io::Result<Vec<u8>>;
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Something to read.
    File,
    /// A directory.
    Directory,
}

/// The machine's own files.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalFiles;

/// More than any file of a project has a reason to be.
const LARGEST_FILE: u64 = 4 << 20;
/// The same of a line of a Compose file, in bytes.
const LONGEST_LINE: usize = 2 << 20;

impl Files for LocalFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        readable(path, &std::fs::metadata(path)?)?;
        read_bounded(std::fs::File::open(path)?)
    }

    fn kind(&self, path: &Path) -> Option<FileKind> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(if metadata.is_dir() {
            FileKind::Directory
        } else {
            FileKind::File
        })
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        std::fs::canonicalize(path).ok()
    }

    fn read_stdin(&self) -> io::Result<Vec<u8>> {
        read_bounded(io::stdin().lock())
    }
}

/// Refuses what would block or never end. The shell's `<(command)` and `/dev/stdin` are pipes without a name, and
/// `/dev/null` is an empty file.
fn readable(path: &Path, metadata: &std::fs::Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let unnamed = ["/dev/fd", "/proc/self/fd", "/dev/stdin", "/dev/null"]
        .iter()
        .any(|place| path.starts_with(place));
    let what = if kind.is_file() || unnamed {
        return Ok(());
    } else if kind.is_dir() {
        "it is a directory"
    } else if kind.is_fifo() {
        "it is a named pipe, not a regular file"
    } else if kind.is_socket() {
        "it is a socket, not a regular file"
    } else {
        "it is a device, not a regular file"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

fn read_bounded(reader: impl io::Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(reader, LARGEST_FILE + 1), &mut content)?;
    if content.len() as u64 > LARGEST_FILE {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is larger than 4 MiB",
        ));
    }
    Ok(content)
}

const BASE_NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// Which files make the project, and with which variables.
#[derive(Debug, Default)]
pub(crate) struct Discovered {
    /// Compose files, absolute; `-` is standard input.
    pub(crate) files: Vec<PathBuf>,
    /// The project directory, absolute.
    pub(crate) directory: PathBuf,
    /// Env files, absolute.
    pub(crate) env_files: Vec<PathBuf>,
    /// Variables for interpolation.
    pub(crate) environment: Environment,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Finds the files of the project.
pub(crate) fn discover(
    options: &LoadOptions,
    files: &dyn Files,
    sources: &mut SourceMap,
) -> Fatal<Discovered> {
    let mut found = Discovered {
        environment: options.environment.clone(),
        ..Discovered::default()
    };
    found.files = options
        .files
        .iter()
        .map(|file| compose_path(options, file))
        .collect();
    found.directory = project_directory(options, &found.files);
    read_env_files(options, files, sources, &mut found)?;
    if found.files.is_empty() {
        files_of_environment(options, &mut found);
    }
    if found.files.is_empty() {
        search_upwards((options, files), sources, &mut found);
    }
    if found.files.is_empty() {
        let problem = Diagnostic::error("no-file", "no configuration file provided: not found")
            .help(format!(
                "write compose.yaml in {} or a directory above it, or name a file with -f",
                found.directory.display()
            ));
        return Err(Box::new(problem));
    }
    found.directory = project_directory(options, &found.files);
    read_env_files(options, files, sources, &mut found)?;
    Ok(found)
}

fn compose_path(options: &LoadOptions, file: &str) -> PathBuf {
    if file == "-" {
        PathBuf::from("-")
    } else {
        absolute(&options.working_directory, Path::new(file))
    }
}

fn project_directory(options: &LoadOptions, files: &[PathBuf]) -> PathBuf {
    if let Some(directory) = &options.project_directory {
        return absolute(&options.working_directory, directory);
    }
    let first = files.iter().find(|file| file.as_os_str() != "-");
    first
        .and_then(|file| file.parent())
        .unwrap_or(&options.working_directory)
        .to_path_buf()
}

fn files_of_environment(options: &LoadOptions, found: &mut Discovered) {
    let Some(value) = found
        .environment
        .get("COMPOSE_FILE")
        .filter(|value| !value.is_empty())
    else {
        return;
    };
    let separator = found
        .environment
        .get("COMPOSE_PATH_SEPARATOR")
        .filter(|text| !text.is_empty());
    let separator = separator.map_or(":", String::as_str);
    found.files = value
        .split(separator)
        .map(|file| compose_path(options, file))
        .collect();
}

fn search_upwards(
    (options, files): (&LoadOptions, &dyn Files),
    sources: &mut SourceMap,
    found: &mut Discovered,
) {
    // The place is the beginning of the file that was chosen.
    let mut start_of = |path: &PathBuf| {
        let file = read_text(path, &options.working_directory, files, sources).ok()?;
        sources.locate(Span::new(file, 0, 0))
    };
    let start = found.directory.clone();
    for directory in start.ancestors() {
        let bases = existing(files, directory, &BASE_NAMES);
        let Some(base) = bases.first() else { continue };
        found.files.push(base.clone());
        warn_of_choice(&bases, "config", &mut start_of, found);
        let overrides = existing(files, directory, &OVERRIDE_NAMES);
        found.files.extend(overrides.first().cloned());
        warn_of_choice(&overrides, "override", &mut start_of, found);
        return;
    }
}

fn existing(files: &dyn Files, directory: &Path, names: &[&str]) -> Vec<PathBuf> {
    let paths = names.iter().map(|name| directory.join(name));
    paths
        .filter(|path| files.kind(path) == Some(FileKind::File))
        .collect()
}

fn warn_of_choice(
    candidates: &[PathBuf],
    kind: &str,
    start_of: &mut dyn FnMut(&PathBuf) -> Option<Location>,
    found: &mut Discovered,
) {
    if let [chosen, _, ..] = candidates {
        let names: Vec<String> = candidates
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let message = format!(
            "Found multiple {kind} files with supported names: {}",
            names.join(", ")
        );
        let warning = Diagnostic::warning("several-files", message).at(start_of(chosen), "");
        found.warnings.push(warning.help(format!(
            "{} is used; name another with -f",
            chosen.display()
        )));
    }
}

/// The env files: `--env-file`, else `COMPOSE_ENV_FILES`, else `.env` in the project directory.
fn env_file_list(
    options: &LoadOptions,
    files: &dyn Files,
    sources: &mut SourceMap,
    found: &Discovered,
) -> Fatal<Vec<EnvFileUse>> {
    let here = |file: &str| absolute(&options.working_directory, Path::new(file));
    if !options.env_files.is_empty() {
        let given = options.env_files.iter();
        let uses = given.map(|file| (here(file), argument(sources, "--env-file", file)));
        return Ok(uses.collect());
    }
    if let Some(list) = options
        .environment
        .get("COMPOSE_ENV_FILES")
        .filter(|list| !list.is_empty())
    {
        let place = sources.variable("COMPOSE_ENV_FILES");
        let uses = list.split(',').map(|file| (here(file), place.clone()));
        return Ok(uses.collect());
    }
    if let Some(value) = options.environment.get("COMPOSE_DISABLE_ENV_FILE") {
        match value.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => return Ok(Vec::new()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => {}
            _ => {
                let message =
                    format!("COMPOSE_DISABLE_ENV_FILE is `{value}`, which is not a boolean");
                let place = sources.variable("COMPOSE_DISABLE_ENV_FILE");
                let problem = Diagnostic::error("wrong-value", message)
                    .at(place, "expected `true` or `false`");
                return Err(Box::new(problem.help("set it to true or false")));
            }
        }
    }
    let default = found.directory.join(".env");
    Ok(if files.kind(&default) == Some(FileKind::File) {
        vec![(default, None)]
    } else {
        Vec::new()
    })
}

fn read_env_files(
    options: &LoadOptions,
    files: &dyn Files,
    sources: &mut SourceMap,
    found: &mut Discovered,
) -> Fatal<()> {
    let list = env_file_list(options, files, sources, found)?;
    let paths: Vec<PathBuf> = list.iter().map(|(path, _)| path.clone()).collect();
    if paths == found.env_files {
        return Ok(());
    }
    let variables = read_variables(
        &list,
        &found.environment,
        files,
        sources,
        &mut found.warnings,
    )?;
    // A `.env` that switches itself off still sets what says how files are found.
    let named = |name: &str| {
        options
            .environment
            .get(name)
            .is_some_and(|value| !value.is_empty())
    };
    let default = options.env_files.is_empty() && !named("COMPOSE_ENV_FILES");
    let off = |(name, value): (&String, &String)| {
        name == "COMPOSE_DISABLE_ENV_FILE" && matches!(value.as_str(), "1" | "true")
    };
    let only_settings = default && !named("COMPOSE_DISABLE_ENV_FILE") && variables.iter().any(off);
    for (name, value) in variables {
        if !only_settings || name.starts_with("COMPOSE_") {
            found.environment.entry(name).or_insert(value);
        }
    }
    found.env_files = paths;
    Ok(())
}

/// An env file, and where it is named.
pub(crate) type EnvFileUse = (PathBuf, Option<Location>);

/// A place on the command line, as if that were a file: an argument is wrong there as a value is in its file.
pub(crate) fn argument(sources: &mut SourceMap, flag: &str, value: &str) -> Option<Location> {
    let before = if flag.is_empty() {
        String::new()
    } else {
        format!("{flag} ")
    };
    part_of_text(sources, "<command line>", before, value)
}

fn part_of_text(
    sources: &mut SourceMap,
    name: &str,
    before: String,
    value: &str,
) -> Option<Location> {
    let (start, end) = (before.len(), before.len() + value.len());
    let file = sources.add(name.to_owned(), before + value);
    sources.locate(Span::new(file, start, end))
}

/// The variables of env files; a later file wins, the environment wins inside their values.
pub(crate) fn read_variables(
    list: &[EnvFileUse],
    environment: &Environment,
    files: &dyn Files,
    sources: &mut SourceMap,
    warnings: &mut Vec<Diagnostic>,
) -> Fatal<Environment> {
    let mut parsed = Parsed::default();
    for (path, asked_at) in list {
        let content = files.read(path).map_err(|error| {
            let place = asked_at.clone().or_else(|| beginning(path, sources));
            let problem = if error.kind() == io::ErrorKind::NotFound {
                let message = format!("couldn't find env file: {}", path.display());
                Diagnostic::error("missing-file", message)
                    .at(place, "there is no such file")
                    .help("create it, or check the path")
            } else {
                let message = format!("the env file {} cannot be read: {error}", path.display());
                Diagnostic::error("unreadable-file", message)
                    .at(place, "")
                    .help("name a file that can be read")
            };
            Box::new(problem)
        })?;
        let outer = |name: &str| environment.get(name).cloned();
        let result = read_dotenv(path, content, &outer, sources, &mut parsed);
        result.map_err(|problem| Box::new(problem.and(asked_at.clone(), "used here")))?;
    }
    warnings.append(&mut parsed.warnings);
    Ok(parsed.variables)
}

/// Parses the content of an env file.
pub(crate) fn read_dotenv(
    path: &Path,
    content: Vec<u8>,
    outer: dotenv::Lookup<'_>,
    sources: &mut SourceMap,
    parsed: &mut Parsed,
) -> Fatal<()> {
    read_with(dotenv::parse, path, content, outer, (sources, parsed))
}

type Parser = fn(&str, dotenv::Lookup<'_>, &mut Parsed) -> Result<(), dotenv::DotenvError>;

/// Parses the content of an env file in a given grammar.
pub(crate) fn read_with(
    parser: Parser,
    path: &Path,
    content: Vec<u8>,
    outer: dotenv::Lookup<'_>,
    (sources, parsed): (&mut SourceMap, &mut Parsed),
) -> Fatal<()> {
    if content.contains(&0) {
        let message = format!(
            "the env file {} cannot be read: {HOLDS_NUL}",
            path.display()
        );
        let at = content.iter().position(|byte| *byte == 0).unwrap_or(0);
        let place = place_in_bytes(path.display().to_string(), &content, at, sources);
        let problem = Diagnostic::error("invalid-env-file", message).at(place, "");
        return Err(Box::new(problem.help("name a text of `NAME=value` lines")));
    }
    let text = String::from_utf8_lossy(&content).into_owned();
    parsed.places.clear();
    let result = parser(&text, outer, parsed);
    let file = sources.add(path.display().to_string(), text);
    for (name, (start, end)) in parsed.places.drain(..) {
        sources.set_variable(name, Span::new(file, start, end));
    }
    for (name, (start, end)) in parsed.missing.drain(..) {
        let place = sources.variable_use(file, (start, end), &name);
        let warning = missing_variable(&name).at(sources.locate(place), "not set");
        parsed.warnings.push(warning.help(format!(
            "set it, or write `${{{name}:-}}` when it may be empty"
        )));
    }
    result.map_err(|error| {
        let message = format!("the env file cannot be read: {}", error.message);
        let place = sources.locate(Span::new(file, error.start, error.end));
        let problem = Diagnostic::error("invalid-env-file", message).at(place, "");
        Box::new(problem.help(error.help))
    })
}

/// The beginning of a file that cannot be shown.
pub(crate) fn beginning(path: &Path, sources: &mut SourceMap) -> Option<Location> {
    let file = sources.add(path.display().to_string(), String::new());
    sources.locate(Span::new(file, 0, 0))
}

/// A place in what is no text: its line and column, and as much of the line as can be shown.
fn place_in_bytes(
    name: String,
    content: &[u8],
    at: usize,
    sources: &mut SourceMap,
) -> Option<Location> {
    const LONGEST: usize = 500;
    let before = &content[..at.min(content.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count();
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let shown = before
        .get(line_start..)
        .filter(|shown| shown.len() <= LONGEST);
    let mut text = "\n".repeat(line);
    text.extend(
        String::from_utf8_lossy(shown.unwrap_or_default())
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c }),
    );
    let start = text.len();
    text.push('\u{fffd}');
    let end = text.len();
    let file = sources.add(name, text);
    sources.locate(Span::new(file, start, end))
}

const HOLDS_NUL: &str = "it holds NUL bytes: it is not a text";

/// Reads a Compose file into the source map; `directory` is the current one.
pub(crate) fn read_text(
    path: &Path,
    directory: &Path,
    files: &dyn Files,
    sources: &mut SourceMap,
) -> Result<u32, Unreadable> {
    let stdin = path.as_os_str() == "-";
    let content = if stdin {
        files.read_stdin()
    } else {
        files.read(path)
    };
    let content = content.map_err(|error| Unreadable {
        why: if error.kind() == io::ErrorKind::NotFound {
            "there is no such file".to_owned()
        } else {
            error.to_string()
        },
        place: None,
    })?;
    let name = if stdin {
        "<stdin>".to_owned()
    } else {
        shown(path, directory)
    };
    let mut text = text_of(content).map_err(|(why, content, at)| Unreadable {
        why,
        place: place_in_bytes(name.clone(), &content, at, sources),
    })?;
    if let Some(rest) = text.strip_prefix('\u{feff}') {
        text = rest.to_owned();
    }
    Ok(sources.add(name, text))
}

/// Why a Compose file cannot be read, and where in it, when it is what it holds.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) why: String,
    pub(crate) place: Option<Location>,
}

/// A text as some editors and shells save it, in UTF-16 with a byte order mark, in UTF-8; none if it is not one.
fn from_utf16(content: &[u8]) -> Option<String> {
    let unit = match content.get(..2)? {
        [0xff, 0xfe] => u16::from_le_bytes,
        [0xfe, 0xff] => u16::from_be_bytes,
        _ => return None,
    };
    let (units, rest) = content.as_chunks();
    let text = char::decode_utf16(units.iter().map(|pair| unit(*pair)));
    let text = text.collect::<Result<String, _>>();
    text.ok().filter(|_| rest.is_empty())
}

/// The content as a text; or why it is none, the content again, and the byte that is to blame.
fn text_of(mut content: Vec<u8>) -> Result<String, (String, Vec<u8>, usize)> {
    if let Some(text) = from_utf16(&content) {
        content = text.into_bytes();
    } else if content.starts_with(&[0xff, 0xfe]) || content.starts_with(&[0xfe, 0xff]) {
        return Err((
            "it is not the UTF-16 text that its first bytes announce: save it as UTF-8".to_owned(),
            content,
            0,
        ));
    }
    if let Some(at) = content.iter().position(|byte| *byte == 0) {
        return Err((HOLDS_NUL.to_owned(), content, at));
    }
    let mut start = 0;
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        if line.len() > LONGEST_LINE {
            let why = format!("line {} is longer than 2 MiB", index + 1);
            return Err((why, content, start));
        }
        start += line.len() + 1;
    }
    String::from_utf8(content).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let why = format!("it is not UTF-8 text: byte {} cannot be read", at + 1);
        (why, error.into_bytes(), at)
    })
}

/// How a main file came to be one: `-f`, `COMPOSE_FILE`, or the search, of which the place is the file itself.
pub(crate) fn asked_for(
    path: &Path,
    options: &LoadOptions,
    sources: &mut SourceMap,
) -> Option<Location> {
    if options.files.is_empty() {
        let set = options
            .environment
            .get("COMPOSE_FILE")
            .is_none_or(|list| !list.is_empty());
        let place = sources.variable("COMPOSE_FILE").filter(|_| set);
        return place.or_else(|| beginning(path, sources));
    }
    let mut given = options.files.iter();
    let file = given.find(|file| compose_path(options, file) == path)?;
    argument(sources, "-f", file)
}

/// A path as the user would write it: relative when it is below the current directory.
fn shown(path: &Path, directory: &Path) -> String {
    path.strip_prefix(directory)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// A path made absolute and free of `.` and `..`, by text only.
pub(crate) fn absolute(directory: &Path, path: &Path) -> PathBuf {
    // Most paths are a directory that is clean and a name in it.
    if let (Some(above), Some(name)) = (directory.to_str(), path.to_str())
        && let Some(inside) = above.strip_prefix('/')
    {
        let name = name.strip_prefix("./").unwrap_or(name);
        if is_clean(inside) && is_clean(name) {
            return PathBuf::from(format!("{above}/{name}"));
        }
    }
    normal(&directory.join(path))
}

/// Whether the parts of a path that does not begin with a slash are all names.
fn is_clean(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// A path without `.` and `..`, by text only.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut parts: Vec<Component<'_>> = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match parts.last() {
                Some(Component::Normal(_)) => {
                    parts.pop();
                }
                Some(Component::RootDir) => {}
                _ => parts.push(part),
            },
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        PathBuf::from(".")
    } else {
        parts.iter().collect()
    }
}

/// The way from one absolute directory to another.
pub(crate) fn relative(from: &Path, to: &Path) -> PathBuf {
    let (from, to) = (normal(from), normal(to));
    let (left, right): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let shared = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(Component::ParentDir, left.len() - shared);
    let path: PathBuf = up.chain(right[shared..].iter().copied()).collect();
    if path.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        path
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The short way to a path is the same as the long one.
        #[test]
        fn a_path_is_made_absolute(directory in "(/|/?[a./]{0,8})", path in "[a./]{0,8}") {
            let (directory, path) = (Path::new(&directory), Path::new(&path));
            prop_assert_eq!(absolute(directory, path), normal(&directory.join(path)));
        }
    }
}
