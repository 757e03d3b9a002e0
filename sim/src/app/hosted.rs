//! Applications as a world runs them, whatever their types are.

use std::fmt;

use driftless::{Conflict, MergeFunction, Resolution};
use serde_json::Value;

use super::{App, Chance, Checked, Device, Schema};

/// An application that a world can run. Every [`App`] is one.
pub trait Hosted: Sync {
    /// See [`App::name`].
    fn title(&self) -> String;
    /// See [`App::schema`].
    fn collections(&self) -> Schema;
    /// See [`App::merges`].
    fn functions(&self) -> Vec<&'static dyn MergeFunction>;
    /// See [`App::draw`]; as plans keep it.
    fn idea(&self, chance: &mut Chance) -> Value;
    /// Starts a process of it.
    fn start(&self) -> Box<dyn Process>;
}

/// A process of an application.
pub trait Process {
    /// See [`App::act`]. What is no act is passed over.
    fn act(&mut self, device: &mut Device<'_>, act: &Value);
    /// See [`App::changed`].
    fn changed(&mut self, device: &mut Device<'_>);
    /// See [`App::resolve`].
    fn resolve(&mut self, device: &Device<'_>, conflict: &Conflict) -> Resolution;
    /// See [`App::check`].
    ///
    /// # Errors
    /// [`Broken`](super::Broken) if an invariant does not hold.
    fn check(&self, device: &Device<'_>) -> Checked;
    /// See [`App::settled`].
    ///
    /// # Errors
    /// [`Broken`](super::Broken) if an invariant does not hold.
    fn settled(&self, device: &Device<'_>) -> Checked;
}

impl<A: App> Hosted for A {
    fn title(&self) -> String {
        self.name()
    }

    fn collections(&self) -> Schema {
        self.schema()
    }

    fn functions(&self) -> Vec<&'static dyn MergeFunction> {
        self.merges()
    }

    #[allow(clippy::panic, reason = "a slip in a test, which should say so")]
    fn idea(&self, chance: &mut Chance) -> Value {
        let act = self.draw(chance);
        serde_json::to_value(act).unwrap_or_else(|error| panic!("an act cannot be put into a plan: {error}"))
    }

    fn start(&self) -> Box<dyn Process> {
        Box::new(Running(self.clone()))
    }
}

struct Running<A>(A);

impl<A: App> Process for Running<A> {
    fn act(&mut self, device: &mut Device<'_>, act: &Value) {
        if let Ok(act) = serde_json::from_value(act.clone()) {
            self.0.act(device, act);
        }
    }

    fn changed(&mut self, device: &mut Device<'_>) {
        self.0.changed(device);
    }

    fn resolve(&mut self, device: &Device<'_>, conflict: &Conflict) -> Resolution {
        self.0.resolve(device, conflict)
    }

    fn check(&self, device: &Device<'_>) -> Checked {
        self.0.check(device)
    }

    fn settled(&self, device: &Device<'_>) -> Checked {
        self.0.settled(device)
    }
}

impl fmt::Debug for dyn Hosted + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title())
    }
}

impl fmt::Debug for dyn Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a process of the application")
    }
}
