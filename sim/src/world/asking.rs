//! What replicas are asked, and what they answer.

use driftless::{Command, Event, Outcome, Refusal, RequestId, SyncgroupId};

use super::World;
use super::replica::{Asked, Invited, Question};
use crate::coverage::Point;
use crate::oracle::{Checked, Violation, WriteExpected};

impl World<'_> {
    /// Somebody asks for something that only admins may ask for.
    pub(super) fn ask_as_admin(
        &mut self,
        replica: usize,
        syncgroup: SyncgroupId,
        command: Command,
        what: Question,
    ) -> Checked {
        let it = &self.replicas[replica];
        let Some(core) = it.core.as_ref() else { return Ok(()) };
        let expected = self.watch.expect_admin(core, &syncgroup, it.stopping);
        self.ask_expecting(replica, command, what, &expected)
    }

    /// Somebody asks for something of which it is known whether it may be refused.
    pub(super) fn ask_expecting(
        &mut self,
        replica: usize,
        command: Command,
        what: Question,
        expected: &WriteExpected,
    ) -> Checked {
        let request = self.replicas[replica].request();
        self.replicas[replica].asked.insert(request, Asked { what, seq: driftless::CommitSeq(0) });
        self.feed(replica, Event::Command { request, command }, Some(expected))
    }

    pub(super) fn ask_of_access(
        &mut self,
        replica: usize,
        command: Command,
        expected: &WriteExpected,
    ) -> Checked {
        self.ask_expecting(replica, command, Question::Other, expected)?;
        if let Some(core) = self.replicas[replica].core.as_ref() {
            self.watch.count_removal(core, expected, &mut self.coverage);
        }
        Ok(())
    }

    /// Asks for something that writes rows. Says whether it did.
    pub(super) fn ask_for(
        &mut self,
        replica: usize,
        command: Command,
        expected: &WriteExpected,
    ) -> Result<bool, Violation> {
        let request = self.replicas[replica].request();
        let asked = Asked { what: Question::Write(Vec::new()), seq: driftless::CommitSeq(0) };
        self.replicas[replica].asked.insert(request, asked);
        self.refusal = None;
        self.feed(replica, Event::Command { request, command }, Some(expected))?;
        Ok(self.was_written(replica, request))
    }

    /// Whether a batch became something, and its author still runs to tell.
    fn was_written(&self, replica: usize, request: RequestId) -> bool {
        let asked = self.replicas[replica].asked.get(&request);
        asked.is_some_and(|asked| matches!(&asked.what, Question::Write(parts) if !parts.is_empty()))
    }

    pub(super) fn ask(&mut self, replica: usize, command: Command, what: Question) -> Checked {
        if self.replicas[replica].core.is_none() {
            return Ok(());
        }
        let request = self.replicas[replica].request();
        self.replicas[replica].asked.insert(request, Asked { what, seq: driftless::CommitSeq(0) });
        self.feed(replica, Event::Command { request, command }, None)
    }

    /// A replica answers.
    pub(super) fn reply(
        &mut self,
        replica: usize,
        request: RequestId,
        result: Result<Outcome, Refusal>,
    ) -> Checked {
        let goes_to = match &mut self.sabotage {
            Some(saboteur) => saboteur.reply(&self.replicas[replica], request, &result),
            None => Some(request),
        };
        let Some(request) = goes_to else { return Ok(()) };
        let Some(asked) = self.replicas[replica].asked.remove(&request) else {
            return Err(self.conduct(
                replica,
                "S-4",
                format!("answers {request:?}, which waits for no answer"),
            ));
        };
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(refusal) => {
                if let Some(seen) = self.replicas[replica].seen() {
                    self.watch.limits_reached(seen, &refusal, &mut self.coverage)?;
                }
                self.refusal = Some(refusal);
                return Ok(());
            }
        };
        if !matches!(asked.what, Question::Write(_)) {
            self.watch.is_durable(replica, asked.seq)?;
        }
        match (asked.what, outcome) {
            (Question::Write(said), Outcome::Written(parts)) => {
                if said != parts {
                    let what = format!("said {said:?} when it wrote, and {parts:?} when it was safe");
                    return Err(self.conduct(replica, "S-9", what));
                }
                self.watch.acknowledged(replica, &parts, asked.seq)
            }
            (Question::Create(label), Outcome::Created(id)) => {
                self.people.groups.insert(label, id);
                self.application_has_group(label, replica);
                Ok(())
            }
            (Question::Invite(label, syncgroup, whom), Outcome::Invited(invitation)) => {
                let given =
                    invitation.user().map_or(Invited::Anybody(invitation.rights()), Invited::DevicesOf);
                if (invitation.syncgroup(), given) != (syncgroup, whom) {
                    let of = invitation.syncgroup();
                    let what = format!("invites {given:?} to {of:?}, asked for {whom:?} to {syncgroup:?}");
                    return Err(self.conduct(replica, "S-32", what));
                }
                self.people.tickets.insert(label, invitation);
                // Whoever waits takes it when the next step or the next look comes: not within this event.
                Ok(())
            }
            (_, Outcome::CollectionCreated(_)) => {
                self.coverage.hit(Point::CollectionAdded);
                Ok(())
            }
            (_, Outcome::Left(_)) => {
                self.coverage.hit(Point::Left);
                Ok(())
            }
            (_, Outcome::SchemaSet(_)) => {
                self.coverage.hit(Point::SchemaChanged);
                Ok(())
            }
            (Question::Pause(database), Outcome::PauseNoted) => {
                self.coverage.hit(Point::SyncPaused);
                self.watch.is_paused(replica, database);
                Ok(())
            }
            (_, Outcome::Joining(_) | Outcome::ResolverNoted | Outcome::PauseNoted) => Ok(()),
            (_, Outcome::UserRightsSet(..) | Outcome::EverybodysRightsSet(..)) => Ok(()),
            (_, Outcome::Enrolled(..) | Outcome::StruckOff(..)) => Ok(()),
            (_, Outcome::Ejected(..) | Outcome::RightsSet(..) | Outcome::Destroyed(_)) => Ok(()),
            (_, Outcome::Reissued(said)) => self.watch.says_written_again(replica, &said),
            (_, Outcome::SpecSet(..) | Outcome::KeyRotated(_)) => Ok(()),
            (_, Outcome::Published(..) | Outcome::Unpublished(..) | Outcome::Declined(_)) => Ok(()),
            (what, outcome) => {
                Err(self.conduct(replica, "S-4", format!("answers {outcome:?} to the question {what:?}")))
            }
        }
    }
}
