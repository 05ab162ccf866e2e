//! `rave secrets encrypt`.

use crate::cli::secrets::{Encrypt, RuleArgs};
use crate::disk;
use crate::secrets::config::Creation;
use crate::secrets::{Format, Group, Opened, Recipient, Rule};

use super::super::{Context, Result, Status};
use super::{failure, files, prompt, refused};

/// Runs the verb.
pub fn run(arguments: &Encrypt, context: &Context) -> Result<Status> {
    let name = arguments.filename_override.as_ref().unwrap_or(&arguments.file);
    let said = |error: &crate::secrets::Error| failure(name.display(), error);
    let input = files::format(name, arguments.types.input_type);
    let output = arguments.types.output_type.map_or(input, |said| files::format(name, Some(said)));
    if arguments.in_place && arguments.file.as_os_str() == "-" {
        return Err(refused(files::CONFLICT, "standard input cannot be replaced in place"));
    }
    let held = arguments.in_place.then(|| files::Held::new(&arguments.file)).transpose()?;
    let documents = match &held {
        Some(held) => input.read(held.read().expose()),
        None => input.read(files::read(&arguments.file)?.expose()),
    };
    let documents = documents.map_err(|error| said(&error))?;
    if documents.iter().all(Vec::is_empty) && output != Format::Binary {
        return Err(said(&crate::secrets::Error::Empty));
    }
    let mut creation = match &arguments.age {
        Some(list) => {
            let recipients = Recipient::parse_list(list).map_err(|error| said(&error))?;
            let group = Group::of(recipients.iter().map(|recipient| recipient.as_str().to_owned()));
            // Recipients of the command line replace those of the configuration; its rules stay.
            let configured = files::creation(name).ok().flatten().unwrap_or_default();
            Creation { groups: vec![group], threshold: None, ..configured }
        }
        None => files::creation(name)?.unwrap_or_default(),
    };
    if let Some(rule) = rule(&arguments.rule) {
        creation.rule = Some(rule);
    }
    let metadata = with_default_rule(creation, output).metadata();
    let mut new = Opened::create(output, documents, metadata, &prompt(context)).map_err(|error| said(&error))?;
    new.layout = files::layout(name)?;
    let sealed = new.seal(jiff::Timestamp::now()).map_err(|error| said(&error))?;
    match (&arguments.output, held) {
        (Some(path), _) => disk::write_to(path, &sealed, 0o644)?,
        (None, Some(held)) => held.replace(&sealed)?,
        (None, None) => context.ui.print_bytes(&sealed),
    }
    Ok(Status::Done)
}

/// sops writes the default rule down, except in binary files.
pub fn with_default_rule(mut creation: Creation, format: Format) -> Creation {
    if creation.rule.is_none() && format != Format::Binary {
        creation.rule = Some(Rule::default_rule());
    }
    creation
}

fn rule(arguments: &RuleArgs) -> Option<Rule> {
    let given = [
        ("unencrypted_suffix", &arguments.unencrypted_suffix),
        ("encrypted_suffix", &arguments.encrypted_suffix),
        ("unencrypted_regex", &arguments.unencrypted_regex),
        ("encrypted_regex", &arguments.encrypted_regex),
        ("unencrypted_comment_regex", &arguments.unencrypted_comment_regex),
        ("encrypted_comment_regex", &arguments.encrypted_comment_regex),
    ];
    given.into_iter().find_map(|(name, text)| Some(Rule { name, text: text.clone()? }))
}
