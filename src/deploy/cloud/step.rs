//! Calls of a provider's own command line tool, as data: what is run, what its answer is, how it is found that it was done
//! already, and how it is undone.

use std::collections::BTreeMap;
use std::time::Duration;

/// What stands in a call for something that is known only when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The file that is uploaded.
    File,
    /// A file with the user-data of a machine.
    UserData,
    /// A file with the public key that checks log in with.
    PublicKey,
    /// What was found to be removed.
    Found,
    /// Id of the snapshot that the image is made of (AWS).
    Snapshot,
    /// Id of the image (AWS).
    Image,
    /// Id or name of an instance.
    Instance,
    /// File of one block of the disk.
    Block,
    /// Its number.
    Index,
    /// Its SHA-256, in base64.
    Checksum,
    /// How many blocks there are.
    Count,
    /// SHA-256 of the digests of all blocks after each other, in base64.
    Total,
}

impl Slot {
    /// Its name as a variable of a shell.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::UserData => "user_data",
            Self::PublicKey => "public_key",
            Self::Found => "found",
            Self::Snapshot => "snapshot",
            Self::Image => "image",
            Self::Instance => "instance",
            Self::Block => "block",
            Self::Index => "index",
            Self::Checksum => "checksum",
            Self::Count => "count",
            Self::Total => "total",
        }
    }
}

/// What is known so far.
pub type Values = BTreeMap<Slot, String>;

/// One word of a command line: text, and what goes between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(pub Vec<Part>);

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(String),
    /// What stands for it.
    Slot(Slot),
}

/// A call of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call(pub Vec<Word>);

impl Call {
    /// Words as they are.
    pub fn new<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        Self(words.into_iter().map(|word| Word(vec![Part::Text(word.into())])).collect())
    }

    /// Adds words as they are.
    #[must_use]
    pub fn words<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.0.extend(Self::new(words).0);
        self
    }

    /// Adds an option with a value.
    #[must_use]
    pub fn option(self, name: &str, value: impl Into<String>) -> Self {
        self.words([name.to_owned(), value.into()])
    }

    /// Adds an option with a value, if there is one.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<&String>) -> Self {
        match value {
            Some(value) => self.option(name, value),
            None => self,
        }
    }

    /// Adds a word with a slot in it.
    #[must_use]
    pub fn slot(mut self, before: &str, slot: Slot, after: &str) -> Self {
        let text = |text: &str| (!text.is_empty()).then(|| Part::Text(text.to_owned()));
        self.0.push(Word([text(before), Some(Part::Slot(slot)), text(after)].into_iter().flatten().collect()));
        self
    }

    /// The words, with `values` in their places; the error is the slot that has none.
    pub fn argv(&self, values: &Values) -> Result<Vec<String>, Slot> {
        let part = |part: &Part| match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Slot(slot) => values.get(slot).cloned().ok_or(*slot),
        };
        self.0.iter().map(|word| word.0.iter().map(part).collect::<Result<String, Slot>>()).collect()
    }
}

/// How it is seen that the provider has come to an end with something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Asks; the answer is one word or two.
    pub call: Call,
    /// It is done.
    pub good: &'static [&'static str],
    /// It will never be.
    pub bad: &'static [&'static str],
    /// Between two questions.
    pub every: Duration,
    /// How long it may take.
    pub most: Duration,
}

/// What a step runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// One call.
    Once(Call),
    /// One call for each block of the disk that has data.
    Blocks(Call),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does, for people.
    pub title: String,
    /// A call whose answer is empty if this step has yet to be done. If it is not, neither is any step before this one to
    /// be done.
    pub find: Option<Call>,
    /// What is run.
    pub body: Body,
    /// What the answer is, both of `find` and of `body`.
    pub gives: Option<Slot>,
    /// What is waited for.
    pub wait: Option<Wait>,
    /// What undoes it where the provider could not do it; each is run, whatever becomes of the one before.
    pub undo: Vec<Call>,
}

impl Step {
    /// A step of one call.
    pub fn once(title: impl Into<String>, call: Call) -> Self {
        Self { title: title.into(), find: None, body: Body::Once(call), gives: None, wait: None, undo: Vec::new() }
    }

    /// That has been done if this call has an answer.
    #[must_use]
    pub fn found_by(self, call: Call) -> Self {
        Self { find: Some(call), ..self }
    }

    /// That tells this.
    #[must_use]
    pub fn gives(self, slot: Slot) -> Self {
        Self { gives: Some(slot), ..self }
    }

    /// That ends then.
    #[must_use]
    pub fn until(self, wait: Wait) -> Self {
        Self { wait: Some(wait), ..self }
    }

    /// What the answer of its call is; none if that is known before, and the call is about it.
    pub fn told(&self) -> Option<Slot> {
        let Body::Once(call) = &self.body else { return None };
        self.gives.filter(|slot| !call.0.iter().any(|word| word.0.contains(&Part::Slot(*slot))))
    }

    /// That is undone so.
    #[must_use]
    pub fn undone_by(self, undo: impl IntoIterator<Item = Call>) -> Self {
        Self { undo: undo.into_iter().collect(), ..self }
    }
}
