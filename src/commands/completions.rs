//! `rave completions` and `rave man`: both made from the same definitions as `--help`.

use std::path::Path;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::disk;

use super::{Context, Result, Status};

/// Prints a completion script.
pub fn completions(shell: clap_complete::Shell, context: &Context) -> Result<Status> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rave", &mut script);
    context.ui.print_bytes(&script);
    Ok(Status::Done)
}

/// Writes a manual page per command into `dir`, or rave(1) to standard output.
pub fn man(dir: Option<&Path>, context: &Context) -> Result<Status> {
    let mut root = without_help(Cli::command());
    root.build();
    let Some(dir) = dir else {
        context.ui.print_bytes(&page(&root, "rave")?);
        return Ok(Status::Done);
    };
    disk::create_dir_all(dir)?;
    write_pages(&root, "rave", dir)?;
    Ok(Status::Done)
}

fn write_pages(command: &clap::Command, name: &str, dir: &Path) -> Result<()> {
    disk::write_atomic(dir.join(format!("{name}.1")), &page(command, name)?, 0o644)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        write_pages(sub, &format!("{name}-{}", sub.get_name()), dir)?;
    }
    Ok(())
}

/// `rave help` needs no page: it shows what the others hold.
fn without_help(command: clap::Command) -> clap::Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

fn page(command: &clap::Command, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let page = clap_mangen::Man::new(command.clone().name(name.to_owned())).title(name.to_uppercase());
    page.render(&mut bytes).map_err(super::Failure::error)?;
    // Of the headings that man-pages(7) knows, this is the one for it.
    let text = String::from_utf8(bytes).map_err(super::Failure::error)?;
    let text = ["Examples", "Example"]
        .iter()
        .fold(text, |text, word| text.replacen(&format!(".SH EXTRA\n{word}:\n"), ".SH EXAMPLES\n", 1));
    Ok(text.into_bytes())
}
