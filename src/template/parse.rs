//! From tokens to nodes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::token::Token;
use super::{TemplateError, functions};

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    /// Prints a pipeline, unless it only sets a variable.
    Print(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template(String, Option<Pipeline>),
    Break,
    Continue,
}

/// `if`, `with`, `range`: a pipeline and two bodies.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Branch {
    pub(super) pipeline: Pipeline,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// `$a, $b := command | command`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    /// The variables are new ones.
    pub(super) declares: bool,
    pub(super) commands: Vec<Vec<Operand>>,
}

/// A word of a command: a value, and the fields taken of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operand {
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
}

/// What an operand begins with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Function(String),
    Group(Box<Pipeline>),
}

type Defined = BTreeMap<String, Vec<Node>>;

fn wrong<T>(text: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError(text.into()))
}

/// Reads a whole template: its body, and what `define` and `block` name.
pub(super) fn parse(tokens: &[Token]) -> Result<(Vec<Node>, Defined), TemplateError> {
    let mut parser = Parser {
        tokens,
        at: 0,
        defined: Defined::new(),
        loops: 0,
        most_variables: 1,
    };
    let (body, end) = parser.nodes()?;
    match end {
        None => Ok((body, parser.defined)),
        Some(end) => wrong(format!("unexpected {{{{{}}}}}", end.word())),
    }
}

/// What a list of nodes ended with.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum End {
    Last,
    Else,
    ElseIf,
    ElseWith,
}

impl End {
    fn word(self) -> &'static str {
        if self == End::Last { "end" } else { "else" }
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    defined: Defined,
    loops: usize,
    /// How many the next pipeline may set.
    most_variables: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn close(&mut self) -> Result<(), TemplateError> {
        match self.next() {
            Some(Token::Close) => Ok(()),
            other => wrong(format!(
                "unexpected {} in command",
                described(other.as_ref())
            )),
        }
    }

    /// Nodes up to the end of the template, or to an `end` or `else` of this list.
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<End>), TemplateError> {
        let mut found = Vec::new();
        while let Some(token) = self.next() {
            match token {
                Token::Text(text) => found.push(Node::Text(text)),
                // Outside text there are only actions.
                _ => match self.action()? {
                    Action::Node(node) => found.push(node),
                    Action::Nothing => {}
                    Action::End(end) => return Ok((found, Some(end))),
                },
            }
        }
        Ok((found, None))
    }

    fn action(&mut self) -> Result<Action, TemplateError> {
        let Some(Token::Word(word)) = self.peek().cloned() else {
            let pipeline = self.pipeline()?;
            self.close()?;
            return Ok(Action::Node(Node::Print(pipeline)));
        };
        self.at += 1;
        match word.as_str() {
            "end" => self.close().map(|()| Action::End(End::Last)),
            "else" => self.otherwise(),
            "if" => Ok(Action::Node(Node::If(self.branch(End::ElseIf)?))),
            "with" => Ok(Action::Node(Node::With(self.branch(End::ElseWith)?))),
            "range" => {
                self.loops += 1;
                self.most_variables = 2;
                let branch = self.branch(End::Else);
                self.loops -= 1;
                Ok(Action::Node(Node::Range(branch?)))
            }
            "break" | "continue" if self.loops == 0 => {
                wrong(format!("{{{{{word}}}}} outside {{{{range}}}}"))
            }
            "break" => self.close().map(|()| Action::Node(Node::Break)),
            "continue" => self.close().map(|()| Action::Node(Node::Continue)),
            "define" => {
                let name = self.name()?;
                self.close()?;
                self.define(name)?;
                Ok(Action::Nothing)
            }
            "block" => {
                let name = self.name()?;
                let pipeline = self.pipeline()?;
                self.close()?;
                self.define(name.clone())?;
                Ok(Action::Node(Node::Template(name, Some(pipeline))))
            }
            "template" => {
                let name = self.name()?;
                let data = match self.peek() {
                    Some(Token::Close) => None,
                    _ => Some(self.pipeline()?),
                };
                self.close()?;
                Ok(Action::Node(Node::Template(name, data)))
            }
            _ => {
                self.at -= 1;
                let pipeline = self.pipeline()?;
                self.close()?;
                Ok(Action::Node(Node::Print(pipeline)))
            }
        }
    }

    fn otherwise(&mut self) -> Result<Action, TemplateError> {
        let end = match self.peek() {
            Some(Token::Word(word)) if word == "if" => End::ElseIf,
            Some(Token::Word(word)) if word == "with" => End::ElseWith,
            _ => return self.close().map(|()| Action::End(End::Else)),
        };
        self.at += 1;
        Ok(Action::End(end))
    }

    fn name(&mut self) -> Result<String, TemplateError> {
        match self.next() {
            Some(Token::Quoted(name)) => Ok(name),
            other => wrong(format!(
                "unexpected {} in template clause",
                described(other.as_ref())
            )),
        }
    }

    fn define(&mut self, name: String) -> Result<(), TemplateError> {
        match self.nodes()? {
            (body, Some(End::Last)) => {
                self.defined.insert(name, body);
                Ok(())
            }
            (_, None) => wrong("unexpected EOF"),
            (_, Some(end)) => wrong(format!(
                "unexpected {{{{{}}}}} in define clause",
                end.word()
            )),
        }
    }

    /// After the keyword: a pipeline, the body, and what follows `else`. `chain` is the `else` that goes on with the
    /// same keyword.
    fn branch(&mut self, chain: End) -> Result<Branch, TemplateError> {
        let pipeline = self.pipeline()?;
        self.close()?;
        let (body, end) = self.nodes()?;
        let otherwise = match end {
            Some(End::Last) => Vec::new(),
            Some(End::Else) => match self.nodes()? {
                (otherwise, Some(End::Last)) => otherwise,
                (_, None) => return wrong("unexpected EOF"),
                (_, Some(end)) => return wrong(format!("unexpected {{{{{}}}}}", end.word())),
            },
            Some(end) if end == chain => {
                let branch = self.branch(chain)?;
                vec![match chain {
                    End::ElseWith => Node::With(branch),
                    _ => Node::If(branch),
                }]
            }
            Some(_) => return wrong("unexpected {{else}}"),
            None => return wrong("unexpected EOF"),
        };
        Ok(Branch {
            pipeline,
            body,
            otherwise,
        })
    }

    fn pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        let mut pipeline = Pipeline::default();
        self.variables(&mut pipeline);
        if pipeline.variables.len() > std::mem::replace(&mut self.most_variables, 1) {
            return wrong(match pipeline.variables.len() {
                2 => "too many declarations in command",
                _ => "too many declarations in range",
            });
        }
        loop {
            let mut command = Vec::new();
            while let Some(operand) = self.operand()? {
                command.push(operand);
            }
            if command.is_empty() {
                return wrong("missing value for command");
            }
            pipeline.commands.push(command);
            match self.peek() {
                Some(Token::Pipe) => self.at += 1,
                _ => return Ok(pipeline),
            }
        }
    }

    /// `$a :=`, `$a, $b :=` or `$a =`, if they are there.
    fn variables(&mut self, pipeline: &mut Pipeline) {
        let start = self.at;
        let mut names = Vec::new();
        while let Some(Token::Variable(name)) = self.peek().cloned() {
            names.push(name);
            self.at += 1;
            match self.peek() {
                Some(Token::Comma) => self.at += 1,
                Some(Token::Declare) => {
                    self.at += 1;
                    (pipeline.variables, pipeline.declares) = (names, true);
                    return;
                }
                Some(Token::Assign) => {
                    self.at += 1;
                    pipeline.variables = names;
                    return;
                }
                _ => break,
            }
        }
        self.at = start;
    }

    fn operand(&mut self) -> Result<Option<Operand>, TemplateError> {
        let mut fields = Vec::new();
        let base = match self.peek().cloned() {
            Some(Token::Field { name, .. }) => {
                fields.extend(Some(name).filter(|name| !name.is_empty()));
                Base::Dot
            }
            Some(Token::Variable(name)) => Base::Variable(name),
            Some(Token::Quoted(text)) => Base::Literal(Value::String(text)),
            Some(Token::Number(number, whole)) => Base::Literal(number_of(number, whole)),
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Base::Literal(Value::Bool(true)),
                "false" => Base::Literal(Value::Bool(false)),
                "nil" => Base::Literal(Value::Null),
                _ if functions::is_known(&word) => Base::Function(word),
                _ => return wrong(format!("function {word:?} not defined")),
            },
            Some(Token::Left) => {
                self.at += 1;
                let group = self.pipeline()?;
                if self.peek() != Some(&Token::Right) {
                    return wrong("unclosed left paren");
                }
                Base::Group(Box::new(group))
            }
            _ => return Ok(None),
        };
        self.at += 1;
        // A field directly after it is taken of it.
        while let Some(Token::Field {
            name,
            spaced: false,
        }) = self.peek().cloned()
        {
            if name.is_empty() {
                return wrong("unexpected . after term");
            }
            fields.push(name);
            self.at += 1;
        }
        Ok(Some(Operand { base, fields }))
    }
}

enum Action {
    Node(Node),
    Nothing,
    End(End),
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a number written without a point, checked to be whole"
)]
fn number_of(number: f64, whole: bool) -> Value {
    match whole && number.abs() < 9e15 {
        true => Value::from(number as i64),
        false => Value::from(number),
    }
}

fn described(token: Option<&Token>) -> String {
    match token {
        None => "EOF".to_owned(),
        Some(Token::Word(word)) => format!("<{word}>"),
        Some(Token::Field { name, .. }) => format!("<.{name}>"),
        Some(Token::Variable(name)) => format!("<${name}>"),
        Some(Token::Quoted(text)) => format!("{text:?}"),
        Some(Token::Close) => "\"}}\"".to_owned(),
        Some(Token::Right) => "right paren".to_owned(),
        Some(_) => "operator".to_owned(),
    }
}
