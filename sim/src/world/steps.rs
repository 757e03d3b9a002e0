//! What becomes of each step of a plan.

use driftless::Event;

use super::queue::Happening;
use super::replica::Armed;
use super::{World, address};
use crate::coverage::Point;
use crate::dice::{Concern, Dice};
use crate::oracle::Checked;
use crate::plan::Act;

impl World<'_> {
    /// Takes a step of the plan.
    pub(super) fn act(&mut self, act: &Act) -> Checked {
        self.trace.note(self.now, || format!("step: {act:?}"));
        if act.replicas().first().is_some_and(|first| self.replicas[*first].vanished) {
            return Ok(());
        }
        match act {
            Act::Crash { replica, keep } => self.crash(*replica, *keep),
            Act::CrashAtCommit { replica, after, keep } => {
                self.replicas[*replica].armed = Some(Armed { after: *after, keep: *keep });
                Ok(())
            }
            Act::Shutdown { replica } => self.shutdown(*replica),
            Act::Restart { replica, shown, settings } => {
                let it = &mut self.replicas[*replica];
                if it.core.is_some() {
                    return Ok(());
                }
                if let Some(settings) = settings {
                    it.settings = Some(settings.clone());
                    self.coverage.hit(Point::Reconfigured);
                }
                self.boot(*replica, *shown)
            }
            Act::Pause { replica, ms, links_break } => {
                self.pause(*replica, *ms, *links_break);
                Ok(())
            }
            Act::Vanish { replica } => {
                self.vanish(*replica);
                Ok(())
            }
            Act::SetClock { replica, ms } => {
                self.set_clock(*replica, *ms);
                Ok(())
            }
            Act::FailReads { .. }
            | Act::FillDisk { .. }
            | Act::SlowSync { .. }
            | Act::Damage { .. }
            | Act::Copy { .. } => {
                self.spoil_disk(act);
                Ok(())
            }
            Act::Restore { replica, unnoticed } => self.restore(*replica, *unnoticed),
            Act::LoseDisk { replica } => {
                self.coverage.hit(Point::DiskLost);
                self.lose_disk(*replica);
                Ok(())
            }
            Act::Cut { from, to, both } => {
                self.network.cut(from, to, *both);
                if !both {
                    self.coverage.hit(Point::OneWayPartition);
                }
                let mut dice = Dice::new(self.plan.seed, Concern::Partitions, &[self.now]);
                for link in self.network.cut_links() {
                    let noticed = self.now + dice.between(2_000, 30_000);
                    self.queue.push(noticed, Happening::Silence { link });
                }
                Ok(())
            }
            Act::Heal => {
                self.heal_cuts();
                Ok(())
            }
            Act::Clog { a, b, ms } => {
                self.network.clog(*a, *b, self.now + ms);
                Ok(())
            }
            Act::Gather { members } => {
                self.gather(members, true);
                Ok(())
            }
            Act::Part { members } => {
                self.gather(members, false);
                Ok(())
            }
            Act::Attack { .. } => self.attack_again(self.step, 0),
            Act::Break { a, b } => {
                for link in self.network.links_of(*a) {
                    if self.network.ends(link) == Some((*a, *b)) {
                        self.break_link(link);
                    }
                }
                Ok(())
            }
            Act::Find { replica, peer } => self.found(*replica, *peer),
            Act::LoseSight { replica, peer } => self.lost_sight(*replica, *peer),
            Act::Frame { from, to, nth, fate } => {
                self.network.decide(*from, *to, *nth, *fate);
                Ok(())
            }
            // Nobody uses a device that has yet to hear of itself.
            act if act.replicas().first().is_some_and(|it| self.replicas[*it].has_yet_to_hear()) => Ok(()),
            act => self.person(act),
        }
    }

    /// A device does not see another any more.
    pub(super) fn lost_sight(&mut self, replica: usize, peer: usize) -> Checked {
        let device = self.replicas[peer].device;
        self.feed(replica, Event::PeerLost { device, address: address(peer) }, None)
    }

    /// Some devices come together or part, each in its own time.
    fn gather(&mut self, members: &[usize], come: bool) {
        self.coverage.hit(if come { Point::Gathered } else { Point::Parted });
        let mut dice = Dice::new(self.plan.seed, Concern::Neighbourhoods, &[self.now, u64::from(come)]);
        for &replica in members {
            for &peer in members.iter().filter(|peer| **peer != replica) {
                let at = self.now + dice.skewed(1, 3_000);
                let happening = match come {
                    true if self.replicas[peer].advertises => Happening::Found { replica, peer },
                    true => continue,
                    false => Happening::Lost { replica, peer },
                };
                self.queue.push(at, happening);
            }
        }
    }
}
