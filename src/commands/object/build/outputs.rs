//! `image build --output` and what belongs to it: what becomes of the result.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal, Read};

use hoist_api::build::{BuildOutput, BuildRequest, OutputAsked};
use tempfile::NamedTempFile;

use super::{ImageBuildArgs, local};
use crate::context::Context;
use crate::failure::Failure;

/// What the options say of the result.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    all: Vec<BuildOutput>,
    names: Vec<String>,
    /// Names that are pushed when all is done.
    pub(super) pushed: Vec<String>,
    /// An output asks for it.
    is_pushed: bool,
    /// What goes to standard output; the engine writes it there first.
    printed: Option<NamedTempFile>,
}

impl Outputs {
    /// Reads the options.
    ///
    /// # Errors
    /// What they ask for cannot be.
    pub(super) fn of(args: &ImageBuildArgs) -> Result<Self, Failure> {
        let mut outputs = Self::default();
        let annotations = annotations(&args.annotation)?;
        for text in &args.output {
            outputs.add(text, &annotations)?;
        }
        let is_file = |output: &BuildOutput| matches!(output, BuildOutput::Archive(_));
        if !annotations.is_empty() && !outputs.all.iter().any(is_file) {
            return Err(
                Failure::new("--annotation: annotations are not kept in the store")
                    .hint("write the image with --output type=oci,dest=FILE"),
            );
        }
        let stays = outputs.all.is_empty() || outputs.all.contains(&BuildOutput::Image);
        // Docker's --load beside other outputs keeps the image as well.
        if (args.load || args.push) && !stays {
            outputs.all.push(BuildOutput::Image);
        }
        if args.push || outputs.is_pushed {
            outputs.pushed.extend(args.tag.clone());
            if outputs.pushed.is_empty() {
                return Err(Failure::new("nothing can be pushed: the image has no name")
                    .hint("name it with --tag"));
            }
        }
        outputs.pushed.sort();
        outputs.pushed.dedup();
        Ok(outputs)
    }

    /// Adds what one `--output` says.
    fn add(&mut self, text: &str, annotations: &BTreeMap<String, String>) -> Result<(), Failure> {
        let (kind, mut attributes) = output_fields(text)?;
        if attributes.get("dest").is_some_and(|dest| dest == "-") {
            let file = self.print_to(text, &kind)?;
            attributes.insert("dest".to_owned(), file);
        } else if let Some(dest) = attributes.get_mut("dest") {
            *dest = local(dest)?;
        }
        let takes = kind == "oci" || (kind == "docker" && attributes.contains_key("dest"));
        if takes {
            attributes.extend(annotations.clone());
        }
        let asked = BuildOutput::of(&kind, &attributes)
            .map_err(|error| Failure::from(error).context(format!("--output {text}")))?;
        let OutputAsked {
            output,
            names,
            push,
        } = asked;
        if push {
            self.is_pushed = true;
            self.pushed.extend(names.clone());
        }
        self.names.extend(names);
        self.all.push(output);
        Ok(())
    }

    /// A file that is printed when all is done.
    fn print_to(&mut self, text: &str, kind: &str) -> Result<String, Failure> {
        if kind == "local" {
            return Err(Failure::new(format!(
                "--output {text}: a directory cannot be written to standard output"
            ))
            .hint("type=tar writes the same files as an archive"));
        }
        if io::stdout().is_terminal() {
            return Err(Failure::new("cannot write an archive to a terminal")
                .hint("name a file with dest=FILE, or redirect the output"));
        }
        if self.printed.is_some() {
            return Err(Failure::new("only one output can go to standard output"));
        }
        let file = NamedTempFile::new()
            .map_err(|error| Failure::from(error).context("cannot make a temporary file"))?;
        let path = file.path().to_string_lossy().into_owned();
        self.printed = Some(file);
        Ok(path)
    }

    /// Asks for them.
    pub(super) fn apply(&self, request: &mut BuildRequest) {
        request.outputs.clone_from(&self.all);
        request.tags.extend(self.names.clone());
    }

    /// Prints what goes to standard output.
    ///
    /// # Errors
    /// It cannot be read, or nobody reads it.
    pub(super) fn print(&self, context: &Context) -> Result<(), Failure> {
        let Some(file) = &self.printed else {
            return Ok(());
        };
        let failed = |error: io::Error| Failure::from(error).context("cannot read the result");
        // By its name: the engine has put a new file there.
        let mut file = fs::File::open(file.path()).map_err(failed)?;
        let mut piece = vec![0; 256 << 10];
        loop {
            let length = file.read(&mut piece).map_err(failed)?;
            if length == 0 {
                return Ok(());
            }
            context.ui.bytes(&piece[..length])?;
        }
    }
}

/// The type and the attributes of an `--output`: fields between commas, as in a line of CSV.
fn output_fields(text: &str) -> Result<(String, BTreeMap<String, String>), Failure> {
    let of = |kind: &str, dest: &str| {
        let dest = ("dest".to_owned(), dest.to_owned());
        Ok((kind.to_owned(), BTreeMap::from([dest])))
    };
    match text {
        "-" => return of("tar", "-"),
        text if !text.contains('=') => return of("local", text),
        _ => {}
    }
    let mut attributes = BTreeMap::new();
    for field in fields(text) {
        let (name, value) = field
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("--output {text}: write {field} as NAME=VALUE")))?;
        attributes.insert(name.to_owned(), value.to_owned());
    }
    let kind = attributes.remove("type").unwrap_or_default();
    Ok((kind, attributes))
}

/// Fields between commas; one that is in double quotes may have commas, and a quote as two.
fn fields(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(next) = chars.next() {
        let last = found.len() - 1;
        match next {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                found[last].push('"');
            }
            '"' if quoted || found[last].is_empty() => quoted = !quoted,
            ',' if !quoted => found.push(String::new()),
            other => found[last].push(other),
        }
    }
    found
}

/// `--annotation` as attributes of outputs: `annotation-manifest.NAME`.
fn annotations(texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    for text in texts {
        let wrong = || Failure::new(format!("--annotation {text}: write it as NAME=VALUE"));
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        let levels = [
            "manifest",
            "index",
            "manifest-descriptor",
            "index-descriptor",
        ];
        let (places, name) = match key.split_once(':') {
            Some((places, name))
                if places
                    .split(',')
                    .all(|place| levels.contains(&place.split('[').next().unwrap_or_default())) =>
            {
                (places, name)
            }
            _ => ("manifest", key),
        };
        if name.is_empty() {
            return Err(wrong());
        }
        for place in places.split(',') {
            found.insert(format!("annotation-{place}.{name}"), value.to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read() {
        let check = |text: &str, expected: &str| {
            let (kind, attributes) = output_fields(text).unwrap_or_else(|_| panic!("{text}"));
            let shown: Vec<String> = attributes
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            assert_eq!(format!("{kind} {}", shown.join(" ")), expected);
        };
        check("/d", "local dest=/d");
        check("-", "tar dest=-");
        check(
            "type=oci,dest=/x.tar,tar=false",
            "oci dest=/x.tar tar=false",
        );
        check(
            "type=image,\"name=a,b:1\",push=true",
            "image name=a,b:1 push=true",
        );
        assert!(output_fields("type=oci,what").is_err());
    }

    #[test]
    fn annotations_have_places() {
        let found = annotations(&[
            "a=b=c".to_owned(),
            "manifest,manifest-descriptor:org.x=y".to_owned(),
            "not:aplace=z".to_owned(),
        ]);
        let found = found.unwrap_or_else(|_| panic!("annotations"));
        let shown: Vec<String> = found
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            shown,
            [
                "annotation-manifest-descriptor.org.x=y",
                "annotation-manifest.a=b=c",
                "annotation-manifest.not:aplace=z",
                "annotation-manifest.org.x=y"
            ]
        );
        assert!(annotations(&["a".to_owned()]).is_err());
    }
}
