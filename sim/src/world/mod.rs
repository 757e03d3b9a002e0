//! The world of a run: replicas, their network, their disks, their clocks, and people.
//!
//! ```text
//!   plan ──► queue ──► happening ──► event ──► core ──► actions ──► queue
//!                                                │          │
//!                                              store      oracles
//! ```
//!
//! One thread, one queue ordered by virtual time: nothing here depends on the machine.

mod application;
mod asking;
mod clock;
mod disk;
mod events;
mod facts;
mod faults;
mod hostile;
mod links;
mod network;
mod observe;
mod people;
mod policies;
mod process;
mod publishing;
mod queue;
mod replica;
mod sabotage;
mod steps;
mod thieves;
mod transfers;
mod users;
mod view;
mod wire;

use driftless::{Address, Event, Name};

use self::application::Application;
use self::clock::WallClock;
pub(crate) use self::disk::Disk;
use self::hostile::Wiretap;
use self::network::Network;
use self::people::People;
pub use self::people::collection;
pub(crate) use self::policies::LONGEST_THOUGHT;
use self::process::TIME_TO_STOP;
use self::queue::{Happening, Queue};
use self::replica::Replica;
use self::sabotage::Saboteur;
pub use self::sabotage::{Sabotage, UnknownSabotage};
pub use self::view::Device;
use crate::app::Hosted;
use crate::coverage::{Coverage, Point};
use crate::dice::{Concern, Dice};
use crate::facts::{Facts, Happened};
use crate::merges::Merges;
use crate::oracle::{Checked, Oracle, Violation, Watch};
use crate::plan::{Plan, ResolverKind, Signatures};
use crate::trace::Trace;

/// Events of one run, above which it is said to run away: hundreds of times what the largest plans need.
const MOST_EVENTS: u64 = 5_000_000;

/// A replica is measured every so many looks of readers: it takes as long as hundreds of events.
const MEASURE_EVERY: u64 = 37;

/// Of the looks of readers at a replica that has committed nothing since, one in so many looks at the rows again:
/// what they see is a function of the store, and looking takes longer than anything else in a quiet run.
const LOOK_AGAIN_EVERY: u64 = 11;

/// Makes a name of a letter and a number.
pub(crate) fn label(letters: &str, number: impl std::fmt::Display) -> Name {
    #[allow(clippy::expect_used, reason = "letters and digits, far shorter than the limit")]
    Name::new(&format!("{letters}{number}")).expect("a short label is a name")
}

/// Where a replica can be reached.
fn address(replica: usize) -> Address {
    #[allow(clippy::expect_used, reason = "letters and digits, far shorter than the limit")]
    Address::new(&format!("sim:{replica}")).expect("a short text is an address")
}

/// Which replica is reached at an address.
fn at_address(address: &Address) -> Option<usize> {
    address.as_str().strip_prefix("sim:")?.parse().ok()
}

/// Everything in a run.
#[derive(Debug)]
pub struct World<'t> {
    plan: &'t Plan,
    now: u64,
    queue: Queue,
    replicas: Vec<Replica>,
    network: Network,
    people: People,
    watch: Watch,
    coverage: Coverage,
    trace: Trace<'t>,
    /// The step of the plan that was taken last.
    step: usize,
    /// Attempts to connect, to draw each one's time.
    dials: u64,
    healed: bool,
    /// Frames that hostile replicas have seen.
    wiretap: Wiretap,
    hellos: wire::Hellos,
    /// When the last attack was, and how many there were before at that moment.
    attacks: (u64, u64),
    /// Links of those who call in the name of others.
    impostors: std::collections::BTreeMap<driftless::LinkId, thieves::Impostor>,
    sabotage: Option<Saboteur>,
    /// Readers have looked at a replica since this was last asked.
    looked: bool,
    /// What becomes of the plan, if somebody wants to know.
    facts: Option<Facts>,
    /// How often they have looked.
    looks: u64,
    /// The last refusal of a batch or an answer.
    refusal: Option<driftless::Refusal>,
    /// Answers that are being thought about.
    answers_due: usize,
    /// The application under test.
    application: Option<Application<'t>>,
}

impl<'t> World<'t> {
    pub(crate) fn new(
        plan: &'t Plan,
        trace: Trace<'t>,
        sabotage: Option<Sabotage>,
        app: Option<&'t dyn Hosted>,
    ) -> Self {
        let (setup, application) = (&plan.setup, app.map(Application::new));
        let mut replicas: Vec<Replica> =
            (0..setup.replicas).map(|index| Replica::new(index, plan.seed, setup)).collect();
        if application.as_ref().is_some_and(Application::resolves) {
            replicas.iter_mut().for_each(|it| it.resolver = ResolverKind::Correct);
        }
        let devices = replicas.iter().map(|it| it.device).collect();
        let mut world = Self {
            plan,
            now: 0,
            queue: Queue::default(),
            replicas,
            network: Network::new(plan.seed, setup.network.clone()),
            people: People::default(),
            watch: Watch::new(devices, &setup.hostile, setup.watch_log, sabotage),
            wiretap: Wiretap::default(),
            hellos: wire::Hellos::default(),
            attacks: (0, 0),
            impostors: std::collections::BTreeMap::new(),
            coverage: Coverage::default(),
            trace,
            step: 0,
            dials: 0,
            healed: false,
            sabotage: sabotage.map(Saboteur::new),
            looked: false,
            facts: None,
            looks: 0,
            refusal: None,
            answers_due: 0,
            application,
        };
        if let Some(app) = app {
            let merges = Merges::new(app.functions());
            world.replicas.iter_mut().for_each(|it| it.merges = merges.clone());
            world.watch.has_app(merges);
        }
        if setup.signatures == Signatures::Ed25519 {
            world.coverage.hit(Point::RealSignatures);
        }
        if setup.drift_ppm.iter().any(|drift| *drift != 0) {
            world.coverage.hit(Point::ClockDrift);
        }
        world.watch.limited(&setup.limits);
        for (index, step) in plan.steps.iter().enumerate() {
            world.queue.push(step.at, Happening::Step(index));
        }
        world
    }

    /// Starts all replicas.
    pub(crate) fn start(&mut self) -> Checked {
        if let Some(recording) = self.trace.recording() {
            let merges = self.replicas.first().map(|it| it.merges.clone()).unwrap_or_default();
            recording.begin(self.replicas.iter().map(|it| it.device), merges);
        }
        for replica in 0..self.replicas.len() {
            self.boot(replica, true)?;
            let mut dice = Dice::new(self.plan.seed, Concern::Readers, &[replica as u64]);
            let first = dice.below(self.plan.setup.readers_ms.max(1));
            self.queue.push(first, Happening::Look { replica });
        }
        Ok(())
    }

    /// Lets everything happen that is due up to, not including, a moment, which then is now.
    pub(crate) fn run_until(&mut self, end: u64, each: &mut dyn FnMut(&World<'_>) -> Checked) -> Checked {
        while self.queue.next_at().is_some_and(|at| at < end) {
            let Some((at, happening)) = self.queue.pop() else { break };
            self.now = at;
            self.clocks_go_on();
            self.happen(happening)?;
            self.people_look()?;
            self.check_application()?;
            if std::mem::take(&mut self.looked) {
                each(self)?;
            }
            if self.trace.events > MOST_EVENTS {
                return Err(self.conduct(0, "S-53", format!("more than {MOST_EVENTS} events in a run")));
            }
        }
        self.now = end;
        self.clocks_go_on();
        Ok(())
    }

    /// The oracles see what the clocks show.
    fn clocks_go_on(&mut self) {
        let (mut first, mut last) = (u64::MAX, 0);
        for it in &self.replicas {
            let wall = it.clock.now(self.now).wall;
            self.watch.shows_time(it.index, wall);
            if !it.hostile && !it.vanished {
                (first, last) = (first.min(wall.0), last.max(wall.0));
            }
        }
        self.watch.are_apart(last.saturating_sub(first));
    }

    /// Ends every fault: the liveness phase begins.
    pub(crate) fn heal(&mut self) -> Checked {
        self.healed = true;
        self.watch.heals();
        self.network.heal_for_ever();
        self.heal_cuts();
        self.hang_up_on_thieves();
        self.trace.note(self.now, || "all faults end".into());
        self.observe_heal();
        for replica in self.present() {
            let it = &mut self.replicas[replica];
            it.armed = None;
            it.disk.mend();
            it.set_clock(WallClock { skew_ms: it.wall.skew_ms, ..WallClock::default() });
            self.watch.clock_is_set(self.now, replica);
            // The driver is told now that the store was set back.
            let (is_deceived, unheard) = (it.has_yet_to_hear(), it.unheard.take());
            it.doubtful |= unheard.is_some();
            if is_deceived {
                self.take_away(replica, "is stopped, as its disk was set back");
                self.replicas[replica].disk.crash(usize::MAX);
            }
            if self.replicas[replica].core.is_none() {
                self.boot(replica, true)?;
            } else {
                self.resume_all(replica)?;
            }
        }
        for replica in self.present() {
            for peer in self.present().into_iter().filter(|peer| *peer != replica) {
                self.queue.push(self.now, Happening::Found { replica, peer });
            }
        }
        Ok(())
    }

    /// Every cut is undone.
    fn heal_cuts(&mut self) {
        let kept = match &self.sabotage {
            Some(saboteur) if saboteur.keeps_one_way_cuts() => self.network.one_way_cuts(),
            _ => Vec::new(),
        };
        self.network.heal();
        for (from, to) in kept {
            self.network.cut(&[from], &[to], false);
        }
    }

    /// Who has not vanished.
    fn present(&self) -> Vec<usize> {
        (0..self.replicas.len()).filter(|replica| !self.replicas[*replica].vanished).collect()
    }

    fn happen(&mut self, happening: Happening) -> Checked {
        let Some(happening) = self.unless_asleep(happening) else { return Ok(()) };
        match happening {
            Happening::Step(index) => {
                self.step = index;
                let plan = self.plan;
                self.observe_step(index);
                let (events, act) = (self.trace.events, &plan.steps[index].act);
                let possible = self.possible(act);
                self.act(act)?;
                self.note_passed_over(index, possible, self.trace.events > events);
                self.observe_cuts();
                Ok(())
            }
            Happening::Tick { replica, boot } => {
                let it = &mut self.replicas[replica];
                if it.boots == boot && it.tick_at == Some(self.now) {
                    it.tick_at = None;
                    return self.tick(replica);
                }
                Ok(())
            }
            Happening::Synced { replica, boot, seq } => {
                if self.replicas[replica].boots == boot && self.replicas[replica].core.is_some() {
                    self.replicas[replica].disk.finish_sync(seq);
                    self.replicas[replica].doubtful = false;
                    self.sync(replica);
                    self.durable(replica, seq)?;
                }
                Ok(())
            }
            Happening::Lie { replica, boot } => {
                let it = &self.replicas[replica];
                let seq = it.disk.store().seq();
                if it.boots == boot && it.core.is_some() { self.durable(replica, seq) } else { Ok(()) }
            }
            Happening::Arrive { link, frame, order, again } => {
                let arrival = self.network.arrive(link, order);
                self.observe_arrival(link, order, arrival);
                let Some(arrival) = arrival else { return Ok(()) };
                let Some(replica) = self.network.owner(link) else { return Ok(()) };
                if again {
                    self.coverage.hit(Point::FrameTwice);
                } else if arrival.late {
                    self.coverage.hit(Point::FrameOvertook);
                }
                self.overhear(replica, &frame);
                self.feed(replica, Event::Received { link, frame }, None)
            }
            Happening::ArriveCorrupt { link, order } => {
                self.observe_arrival(link, order, None);
                if self.network.arrive(link, order).is_some() {
                    // Links are authenticated: what was changed on its way is noticed before the core sees it.
                    self.coverage.hit(Point::FrameCorrupted);
                    self.break_link(link);
                }
                Ok(())
            }
            Happening::Writable { link, credit } => {
                self.network.give_credit(link, credit);
                match self.network.owner(link) {
                    Some(replica) => self.feed(replica, Event::Writable { link, credit }, None),
                    None => Ok(()),
                }
            }
            Happening::Dialled { from, boot, to } => self.dialled(from, boot, to),
            Happening::DialFailed { from, boot, device } => {
                if self.replicas[from].boots == boot {
                    self.coverage.hit(Point::ConnectFailed);
                    return self.feed(from, Event::ConnectFailed { device }, None);
                }
                Ok(())
            }
            Happening::Accepted { link } => self.accepted(link),
            Happening::Down { link } => match self.network.take_down(link) {
                Some(replica) => self.feed(replica, Event::LinkDown { link }, None),
                None => Ok(()),
            },
            Happening::Closed { link } => {
                self.network.break_link(link);
                match self.network.take_down(link) {
                    Some(replica) => self.feed(replica, Event::LinkDown { link }, None),
                    None => Ok(()),
                }
            }
            Happening::Wear { link } => {
                if !self.healed {
                    self.note_wear(link);
                    self.break_link(link);
                }
                Ok(())
            }
            Happening::Silence { link } => {
                let cut = self.network.ends(link).is_some_and(|(a, b)| self.network.cut_between(a, b));
                if cut {
                    self.break_link(link);
                }
                Ok(())
            }
            Happening::Found { replica, peer } => self.found(replica, peer),
            Happening::Lost { .. } if self.healed => Ok(()),
            Happening::Lost { replica, peer } => self.lost_sight(replica, peer),
            Happening::Restart { replica } => match self.replicas[replica].core {
                None if !self.replicas[replica].vanished => {
                    if !self.healed {
                        self.note(replica, Happened::Started);
                    }
                    self.boot(replica, true)
                }
                _ => Ok(()),
            },
            Happening::Wake { replica } => {
                self.wake(replica);
                Ok(())
            }
            Happening::Attack { step, tries } => self.attack_again(step, tries),
            Happening::Overdue { replica, boot } => {
                let it = &self.replicas[replica];
                if it.boots == boot && it.stopping && it.core.is_some() {
                    let what = format!("was asked to stop {TIME_TO_STOP} ms ago, and has not");
                    return Err(self.conduct(replica, "S-54", what));
                }
                Ok(())
            }
            Happening::Look { replica } => {
                self.queue.push(self.now + self.plan.setup.readers_ms.max(1), Happening::Look { replica });
                self.looked = true;
                self.application_is_seen(replica);
                let Some(seen) = self.replicas[replica].seen() else { return Ok(()) };
                self.looks += 1;
                if self.looks.is_multiple_of(MEASURE_EVERY) {
                    // Frames wait for commits that are at risk. One of deltas starts as long as there is any credit.
                    let (it, setup) = (&self.replicas[replica], &self.plan.setup);
                    let waits = it.disk.at_risk() > 0;
                    let unsent = if waits { setup.network.credit + it.chunk_bytes(setup) as u64 } else { 0 };
                    self.watch.size(seen, unsent)?;
                }
                self.watch.within(seen)?;
                let it = &self.replicas[replica];
                if it.asleep.is_some() || it.stopping {
                    self.watch.need_not_call(replica);
                } else {
                    self.watch.keeps_calling(seen, self.now, it.waits(&self.plan.setup))?;
                }
                let known = self.coverage.count(Point::TwoDatabases) > 0;
                let databases = seen.core.syncgroups().into_iter().map(|group| group.database);
                if databases.collect::<std::collections::BTreeSet<_>>().len() > 1 && !known {
                    self.coverage.hit(Point::TwoDatabases);
                }
                let at = Some((self.replicas[replica].boots, seen.store.seq()));
                if self.replicas[replica].looked_at != at || self.looks.is_multiple_of(LOOK_AGAIN_EVERY) {
                    self.watch.look(seen, &mut self.coverage)?;
                    if self.watch.conflicts(seen)? {
                        self.coverage.hit(Point::Deferred);
                    }
                    self.replicas[replica].looked_at = at;
                }
                self.watchers_look(replica, false)
            }
            Happening::Answer { replica, boot, conflict } => self.answer(replica, boot, &conflict),
            Happening::Attach { replica, boot, attached } => {
                if self.replicas[replica].boots == boot {
                    self.attach(replica, attached)
                } else {
                    Ok(())
                }
            }
            Happening::Pay(payment) => self.pay(*payment),
            Happening::Install { replica, boot } if self.replicas[replica].boots == boot => {
                self.install(replica)
            }
            Happening::Install { .. } => Ok(()),
            Happening::News { replica, boot } => self.news(replica, boot),
        }
    }

    fn conduct(&self, replica: usize, rule: &'static str, what: String) -> Violation {
        Violation::new(Oracle::Conduct, rule, replica, what)
    }
}
