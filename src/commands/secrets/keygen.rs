//! `rave secrets keygen`.

use std::path::Path;

use serde_json::json;

use crate::cli::secrets::Keygen;
use crate::disk;
use crate::secrets::{Secret, identity, ssh_to_age};

use super::super::{Context, Failure, Result, Status};
use super::{files, prompt};

/// Runs the verb.
pub fn run(arguments: &Keygen, context: &Context) -> Result<Status> {
    if let Some(path) = &arguments.convert {
        return convert(path, context);
    }
    let new = identity::generate(arguments.post_quantum).map_err(Failure::error)?;
    let text = file(&new, jiff::Timestamp::now());
    match &arguments.output {
        None if context.ui.is_json() => {
            let identity = new.identity.expose_text().unwrap_or_default();
            context.ui.print_json(&json!({"recipient": new.recipient, "identity": identity}));
        }
        None => {
            context.ui.print_bytes(text.expose());
            context.ui.say(format!("recipient: {}", new.recipient));
        }
        Some(path) => {
            write(path, &text)?;
            if context.ui.is_json() {
                context.ui.print_json(&json!({"recipient": new.recipient, "file": path}));
            } else {
                context.ui.print(&new.recipient);
            }
        }
    }
    Ok(Status::Done)
}

/// Identities are never overwritten, also not by whoever makes one at the same time. A link leads to where the file
/// shall be; a device or a pipe has nothing to lose.
fn write(path: &Path, text: &Secret) -> Result<()> {
    let path = disk::followed(path)?;
    let written = match disk::metadata(&path) {
        Ok(found) if !found.is_file() => disk::write_to(&path, text.expose(), 0o600),
        _ => disk::write_new(&path, text.expose(), 0o600),
    };
    written.map_err(|error| match error.is_taken() {
        true => Failure::request(format!("{} exists; identities are never overwritten", path.display())),
        false => error.into(),
    })
}

/// An identity file, as age-keygen(1) writes it.
pub fn file(new: &identity::New, now: jiff::Timestamp) -> Secret {
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ");
    let head = format!("# created: {time}\n# public key: {}\n", new.recipient);
    Secret::new([head.as_bytes(), new.identity.expose(), b"\n"].concat())
}

fn convert(path: &Path, context: &Context) -> Result<Status> {
    let bytes = files::read(path)?;
    let recipients = match bytes.expose_text().and_then(ssh_to_age) {
        Some(recipient) => vec![recipient],
        None => {
            let mut all = crate::secrets::Identities::new(prompt(context));
            let added = all.add(&path.display().to_string(), bytes.expose());
            added.map_err(|error| Failure::request(super::super::failure::chain(&error)))?;
            all.recipients().to_vec()
        }
    };
    if context.ui.is_json() {
        context.ui.print_json(&recipients);
    } else {
        recipients.iter().for_each(|recipient| context.ui.print(recipient));
    }
    Ok(Status::Done)
}
