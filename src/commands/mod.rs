//! One file per verb, and what all verbs share: the context they run in and the ways in which they end.

mod build;
mod building;
mod check;
mod cloud_init;
mod completions;
mod context;
mod deploy;
mod diff;
mod eval;
mod explain;
mod export;
mod failure;
mod fault;
mod fmt;
mod generations;
mod guest;
mod host;
mod lint;
mod lock;
mod locking;
mod looking;
mod new;
mod options;
mod project;
mod ps;
mod push;
mod rehearse;
mod run;
mod running;
mod schema;
mod scratch;
mod secrets;
mod store;
mod target;
mod up;
mod verify;
mod vm;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;

use crate::cli::{Authoring, Cli, Color, Command};
use crate::disk;
use crate::interrupt;
use crate::ui::{Style, Ui};

pub use context::{Context, Environment};
pub use failure::{Failure, Result, Status};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return usage(&said),
    };
    match cli.global.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    let events = !matches!(cli.command, Command::Check(_));
    let style = Style { json: cli.global.json, events, quiet: cli.global.quiet, verbose: cli.global.verbose };
    let ui = Arc::new(Ui::new(style));
    if style.verbose > 1 {
        crate::ui::trace();
    }
    // Inside a machine there is no home, no store and nobody who interrupts.
    if let Command::Guest(verb) = &cli.command {
        return guest::run(verb, &Environment::of_process(), &ui)
            .map_or_else(|failure| failure.show(&ui), ExitCode::from);
    }
    let context = match Context::new(&cli.global, Environment::of_process(), Arc::clone(&ui)) {
        Ok(context) => context,
        Err(failure) => return failure.show(&ui),
    };
    if let Err(e) = interrupt::listen() {
        return Failure::error(e).show(&context.ui);
    }
    let ended = dispatch(cli.command, &context);
    if let Some(error) = context.ui.lost() {
        return Failure::error(disk::Error { verb: "write", path: "standard output".into(), source: error })
            .show(&context.ui);
    }
    ended.map_or_else(|failure| failure.show(&context.ui), ExitCode::from)
}

/// Help and version as results; a wrong command line as wrong input, where clap's own status would be 2.
fn usage(said: &clap::Error) -> ExitCode {
    // Nobody is left to tell where the stream is closed.
    let _ = said.print();
    if said.use_stderr() { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn dispatch(command: Command, context: &Context) -> Result<Status> {
    match command {
        Command::Completions { shell } => completions::completions(shell, context),
        Command::Build(arguments) => build::run(&arguments, context),
        Command::Export(arguments) => export::run(&arguments, context),
        Command::Lock(arguments) => lock::run(&arguments, context),
        Command::Store(verb) => store::run(&verb, context),
        Command::Guest(verb) => guest::run(&verb, &context.environment, &context.ui),
        Command::Host(verb) => host::run(&verb, context),
        Command::Deploy(arguments) => deploy::run(&arguments, context),
        Command::Ps(arguments) => ps::run(&arguments, context),
        Command::Target(verb) => target::run(&verb, context),
        Command::Man { dir } => completions::man(dir.as_deref(), context),
        Command::Up(arguments) => up::run(&arguments, context),
        Command::Run(arguments) => run::run(&arguments, context),
        Command::Vm(verb) => vm::run(&verb, context),
        Command::Check(arguments) => check::typed::run(&arguments, context),
        Command::Verify(arguments) => verify::run(&arguments, context),
        Command::CloudInit(verb) => cloud_init::run(&verb, context),
        Command::Secrets(verb) => secrets::run(&verb, context),
        Command::Authoring(verb) => author(verb, context),
    }
}

fn author(verb: Authoring, context: &Context) -> Result<Status> {
    match verb {
        Authoring::New(arguments) => new::run(&arguments, context),
        Authoring::Options(arguments) => options::run(&arguments, context),
        Authoring::Explain(arguments) => explain::run(&arguments, context),
        Authoring::Eval(arguments) => eval::run(&arguments, context),
        Authoring::Diff(arguments) => diff::run(&arguments, context),
        Authoring::Lint(arguments) => lint::run(&arguments, context),
        Authoring::Fmt(arguments) => fmt::run(&arguments, context),
        Authoring::Schema(arguments) => schema::run(&arguments, context),
    }
}
