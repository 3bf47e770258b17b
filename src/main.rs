//! `hoist`: reads Compose files and runs them on its own container engine.
//!
//! This crate only turns arguments into requests and results into text.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "help texts are documentation, too, and say [SOURCE:]TARGET as Docker does"
)]
#![forbid(unsafe_code)]

mod building;
mod cli;
mod commands;
mod connect;
mod context;
mod contexts;
mod docker;
mod failure;
mod follow;
mod globals;
mod listing;
mod members;
mod patterns;
mod places;
mod planned;
mod ports;
mod providers;
mod publish;
mod refusal;
mod remote;
mod session;
mod signals;
mod spelling;
mod streams;
mod template;
mod transfer;
mod ui;
mod usage;
mod when;

use std::ffi::OsString;
use std::process::ExitCode;

use cli::{Cli, Group, Verb};
use commands::object::engine::EngineVerb;
use context::Context;
use failure::Failure;
use globals::Globals;

fn main() -> ExitCode {
    let line: Vec<OsString> = std::env::args_os().collect();
    let as_docker = docker::is_docker(&line);
    if refusal::asks_version(&line) {
        return refusal::version(as_docker);
    }
    let translated = docker::translate(line.clone());
    if let Some(settings) = &translated.settings
        && let Err(failure) = docker::with_settings(&line, settings)
    {
        return end(&ui::Ui::plain(), &failure);
    }
    let cli = match Cli::read(translated.line) {
        Ok(cli) => cli,
        Err(error) => return refusal::refuse(&error, as_docker),
    };
    if let Some(failure) = docker::signatures_asked(&line, &cli.verb) {
        return end(&ui::Ui::plain(), &failure);
    }
    let context = match context_of(cli.globals, &cli.verb, as_docker) {
        Ok(mut context) => {
            context.ui.as_docker = as_docker;
            context
        }
        Err(failure) => {
            let mut ui = ui::Ui::plain();
            ui.as_docker = as_docker;
            return end(&ui, &failure);
        }
    };
    let result = match cli.verb {
        Verb::Context(Group(verb)) => commands::object::context::run(&context, verb, as_docker),
        verb => run(&context, verb),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(&context.ui, &failure),
    }
}

/// What the command starts from. A command on contexts must work although the chosen one is broken.
fn context_of(globals: Globals, verb: &Verb, as_docker: bool) -> Result<Context, Failure> {
    match verb {
        Verb::Context(_) => Context::new(globals, |_, _| Ok(None)),
        _ => Context::new(globals, |globals, environment| {
            remote::endpoint(globals, environment, as_docker)
        }),
    }
}

fn end(ui: &ui::Ui, failure: &Failure) -> ExitCode {
    if let Some(report) = &failure.report {
        // As `docker run` words it.
        if ui.as_docker && (125..=127).contains(&failure.exit) {
            ui.report_of("docker: ", report);
        } else {
            ui.report(report);
        }
    }
    ExitCode::from(failure.exit)
}

fn run(context: &Context, verb: Verb) -> Result<(), Failure> {
    match verb {
        // No engine and no runtime: these must be quick.
        Verb::Config(args) => commands::config::run(context, &args),
        Verb::Version(args) => commands::listing::version(context, &args),
        Verb::Logout(args) => commands::object::transfer::logout(context, &args),
        // It makes a runtime of its own kind.
        Verb::Engine(Group(EngineVerb::Run(args))) => commands::object::serve::run(context, &args),
        verb => connect::wait_for(run_with_engine(context, verb)),
    }
}

async fn run_with_engine(context: &Context, verb: Verb) -> Result<(), Failure> {
    use commands::{
        build, cp, create, down, events, exec, lifecycle, listing, logs, object, plan, ps, refused,
        run, single, up, watch,
    };
    match verb {
        Verb::Up(args) => up::run(context, args).await,
        Verb::Down(args) => down::run(context, args).await,
        Verb::Plan(args) => plan::run(context, args).await,
        Verb::Build(args) => build::run(context, args).await,
        Verb::Create(args) => create::run(context, args).await,
        Verb::Scale(args) => lifecycle::scale(context, args).await,
        Verb::Start(args) => lifecycle::start(context, args).await,
        Verb::Stop(args) => lifecycle::stop(context, args).await,
        Verb::Restart(args) => lifecycle::restart(context, args).await,
        Verb::Kill(args) => lifecycle::kill(context, args).await,
        Verb::Pause(args) => lifecycle::pause(context, args).await,
        Verb::Unpause(args) => lifecycle::unpause(context, args).await,
        Verb::Rm(args) => lifecycle::rm(context, args).await,
        Verb::Wait(args) => lifecycle::wait(context, args).await,
        Verb::Ps(args) => ps::run(context, args).await,
        Verb::Logs(args) => logs::run(context, args).await,
        Verb::Exec(args) => exec::run(context, args).await,
        Verb::Run(args) => run::run(context, *args).await,
        Verb::Attach(args) => single::attach(context, args).await,
        Verb::Cp(args) => cp::run(context, args).await,
        Verb::Events(args) => events::run(context, args).await,
        Verb::Stats(args) => single::stats(context, args).await,
        Verb::Commit(args) => single::commit(context, args).await,
        Verb::Export(args) => single::export(context, args).await,
        Verb::Watch(args) => watch::run(context, args).await,
        Verb::Alpha(args) => refused::run("alpha", &args),
        Verb::Bridge(args) => refused::run("bridge", &args),
        Verb::Publish(args) => refused::run("publish", &args),
        Verb::Absent(args) if object::manifest::is_asked(&args) => {
            object::manifest::inspect(context, &args).await
        }
        Verb::Absent(args) => object::absent::run(context, &args),
        Verb::Top(args) => listing::top(context, args).await,
        Verb::Port(args) => listing::port(context, args).await,
        Verb::Images(args) => listing::images(context, args).await,
        Verb::Volumes(args) => listing::volumes(context, args).await,
        Verb::Ls(args) => listing::ls(context, args).await,
        Verb::Pull(args) => commands::pull::run(context, args).await,
        Verb::Push(args) => commands::pull::push(context, args).await,
        Verb::Login(args) => object::transfer::login(context, args).await,
        Verb::Image(Group(verb)) => object::image::run(context, verb).await,
        Verb::Builder(Group(verb)) => object::builder::run(context, verb).await,
        Verb::Volume(Group(verb)) => object::volume::run(context, verb).await,
        Verb::Network(Group(verb)) => object::network::run(context, verb).await,
        Verb::Container(Group(verb)) => object::container::run(context, verb).await,
        Verb::System(Group(verb)) => object::system::run(context, verb).await,
        Verb::Inspect(args) => object::system::inspect(context, args).await,
        Verb::Info(args) => object::facts::info(context, args).await,
        Verb::Engine(Group(verb)) => object::engine::run(context, verb).await,
        // Carried out by the caller, without an engine.
        Verb::Config(_) | Verb::Version(_) | Verb::Logout(_) | Verb::Context(_) => Ok(()),
    }
}
