//! Databases whose exchange is paused for a while.

use super::Act;
use super::draw::{Drawing, database};
use crate::dice::{Concern, Dice};

impl Drawing<'_> {
    pub(super) fn paused_databases(&mut self) {
        let mut dice = Dice::new(self.seed, Concern::People, &[4]);
        for _ in 0..dice.skewed(1, 4) {
            let (replica, database) = (dice.index(self.replicas), database(&mut dice));
            let at = dice.between(self.safety_ms / 10, self.safety_ms);
            self.step(at, Act::PauseSync { replica, database });
            let then = at + dice.skewed(100, self.safety_ms / 2);
            self.step(then, Act::ResumeSync { replica, database });
        }
    }
}
