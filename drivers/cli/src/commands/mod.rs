//! What each command does.

mod about;
mod conflicts;
mod export;
mod import;
mod key;
mod log;
mod membership;
mod merging;
mod network;
mod offers;
mod passphrase;
mod resolve;
mod rows;
mod serve;
mod syncgroup;
mod tree;
mod user;
mod verify;
mod watch;
mod who;

use std::path::PathBuf;

use anyhow::Result;

use crate::args::{self, Cli, CollectionArgs, Command, Global};
use crate::output::Output;
use crate::passphrase::Unlock;
use crate::protocol::{CollectionRef, Request, Response};
use crate::session::{Missing, Reach, Session};
use crate::{demo, settings};

pub(crate) use self::import::Batcher;
pub(crate) use self::serve::interrupted;

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) dir: PathBuf,
    pub(crate) unlock: Unlock,
    pub(crate) global: Global,
    pub(crate) out: Output,
}

impl Context {
    /// A way to the data, with or without a server.
    pub(crate) async fn session(&self, reach: Reach) -> Result<Session> {
        Session::open(&self.dir, &self.unlock, reach, Missing::Refuse).await
    }

    /// The same, for commands with which things begin.
    pub(crate) async fn first_session(&self, reach: Reach) -> Result<Session> {
        Session::open(&self.dir, &self.unlock, reach, Missing::Make).await
    }

    /// Has something done.
    pub(crate) async fn tell(&self, request: Request) -> Result<()> {
        let mut session = self.session(Reach::Alone).await?;
        let outcome = session.tell(request).await;
        session.close().await;
        outcome
    }

    /// Asks for something whose answer is one item.
    pub(crate) async fn one(&self, request: Request) -> Result<Response> {
        let mut session = self.session(Reach::Alone).await?;
        let answer = session.one(request).await;
        session.close().await;
        answer
    }

    /// Asks for something whose answer is any number of items, and takes them as they come.
    pub(crate) async fn each(
        &mut self,
        request: Request,
        mut take: impl FnMut(&mut Output, Response) -> Result<()>,
    ) -> Result<()> {
        let mut session = self.session(Reach::Alone).await?;
        let outcome = async {
            let mut answer = session.ask(request).await?;
            while let Some(item) = answer.next().await? {
                take(&mut self.out, item)?;
            }
            Ok(())
        };
        let outcome = outcome.await;
        session.close().await;
        outcome
    }

    /// Which collection is meant.
    pub(crate) fn collection(&self, of: CollectionArgs) -> CollectionRef {
        CollectionRef { database: self.global.db.clone(), collection: of.collection, syncgroup: of.syncgroup }
    }
}

/// Runs a command.
pub(crate) async fn run(cli: Cli) -> Result<()> {
    let Cli { command, global } = cli;
    let dir = match &global.dir {
        Some(dir) => dir.clone(),
        None => settings::default_dir()?,
    };
    let out = Output::new(&global);
    let unlock = Unlock::new(global.passphrase_file.clone());
    let mut context = Context { dir, unlock, global, out };
    let outcome = dispatch(&mut context, command).await;
    let flushed = context.out.flush();
    outcome?;
    Ok(flushed?)
}

async fn dispatch(context: &mut Context, command: Command) -> Result<()> {
    match command {
        Command::Init(args) => network::init(context, args).await,
        Command::Serve(args) => serve::serve(context, args).await,
        Command::Put(args) => rows::put(context, args).await,
        Command::Get(args) => rows::get(context, args).await,
        Command::Delete(args) => rows::delete(context, args).await,
        Command::Scan(args) => rows::scan(context, args).await,
        Command::Count(args) => rows::count(context, args).await,
        Command::Watch(args) => watch::watch(context, args).await,
        Command::Schema(args) => merging::schema(context, args).await,
        Command::Add(args) => merging::add(context, args).await,
        Command::SetAdd(args) => merging::change_set(context, args, true).await,
        Command::SetRemove(args) => merging::change_set(context, args, false).await,
        Command::Field(command) => merging::field(context, command).await,
        Command::Conflicts(args) => conflicts::conflicts(context, args).await,
        Command::Resolve(args) => resolve::resolve(context, args).await,
        Command::Log(args) => log::log(context, args).await,
        Command::Import(args) => import::import(context, args).await,
        Command::Export(args) => export::export(context, args).await,
        Command::Syncgroup(command) => syncgroup::syncgroup(context, command).await,
        Command::Invitations => offers::list(context).await,
        Command::Decline { offer, by } => offers::decline(context, &offer, by).await,
        Command::User(command) => user::user(context, command).await,
        Command::Device(command) => user::device(context, command).await,
        Command::Whoami => user::whoami(context).await,
        Command::Status => network::status(context).await,
        Command::Network { state } => network::network(context, state).await,
        Command::Pause => network::set_paused(context, true).await,
        Command::Resume => network::set_paused(context, false).await,
        Command::Reissue { clock_is_right } => network::reissue(context, clock_is_right).await,
        Command::Verify => verify::verify(context).await,
        Command::Passphrase(action) => passphrase::passphrase(context, action).await,
        Command::Key(args::Key::Rotate { anyway }) => key::rotate(context, anyway).await,
        Command::Demo(args) => demo::demo(context, args).await,
    }
}
