//! A small shared inventory, designed in several ways, and the simulator's word on each.
//!
//! Shops deliver and sell on devices that are often offline. Two things should hold whatever happens:
//!
//! 1. *The books balance*: what the stock says is what was delivered without what was sold.
//! 2. *Nothing is sold twice*: the stock never falls below zero.
//!
//! | design | books | sold twice | why |
//! |---|---|---|---|
//! | [`naive`]: the stock is a number that is put | fail | | of two numbers that were put side by side one is lost |
//! | [`counted`]: the stock is a counter | balance | fails | two shops can each sell the last one |
//! | [`quotas`]: each shop has a counter of its own, and sells from that | balance | holds | nobody else sells from it |
//! | [`reserved`]: pieces are claimed one by one, and conflicts decided | | holds in the end | whoever loses is told so |
//!
//! `cargo run --release -p driftless-sim --example inventory` runs all of them, and tells what goes wrong.
//! The tests below are what an application's own tests look like.

mod counted;
mod naive;
mod quotas;
mod reserved;
mod shop;

use driftless::Policy;
use driftless_sim::Faults;
use driftless_sim::app::Runs;

use self::counted::Counted;
use self::naive::Naive;
use self::quotas::Quotas;
use self::reserved::Reserved;

fn main() {
    println!("{}\n", Runs::new(Naive).run());
    println!("{}\n", Runs::new(Counted { sells_out: true }).run());
    println!("{}\n", Runs::new(Counted { sells_out: false }).run());
    println!("{}\n", quotas_of_devices().run());
    println!("{}\n", Runs::new(Quotas { of_author: true }).run());
    println!("{}\n", Runs::new(Reserved(Policy::LastWins)).run());
    println!("{}\n", Runs::new(Reserved(Policy::BatchWins)).run());
    println!("{}", Runs::new(Reserved(Policy::AppResolves)).run());
}

/// On few devices, which are often apart, and of which some lose their disks or find an old copy in their place.
fn quotas_of_devices() -> Runs<Quotas> {
    let mut faults = Faults::none();
    (faults.losses, faults.partitions) = (true, true);
    Runs::new(Quotas { of_author: false }).devices(2, 3).acts(30, 90).faults(faults).seeds(0..600)
}

#[cfg(test)]
mod tests {
    use driftless_sim::Oracle;
    use driftless_sim::app::{App, Found, Origin};

    use super::*;

    /// Where the simulator keeps what it found here once.
    const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/inventory/plans");

    #[test]
    fn a_counter_balances_the_books() {
        Runs::new(Counted { sells_out: false })
            .seeds(0..40)
            .sometimes(["sold out", "write in a partition"])
            .check();
    }

    #[test]
    fn quotas_sell_nothing_twice() {
        let points = ["sold out", "shared", "write in a partition", "crash that lost own writes"];
        Runs::new(Quotas { of_author: true }).kept(KEPT).sometimes(points).check();
    }

    #[test]
    fn whoever_loses_a_piece_to_another_is_told_so() {
        let points = ["claimed twice", "conflict answered", "two resolvers at once"];
        Runs::new(Reserved(Policy::AppResolves)).sometimes(points).check();
    }

    #[test]
    fn whoever_loses_a_piece_to_another_is_forgotten_where_whole_batches_win() {
        Runs::new(Reserved(Policy::BatchWins)).sometimes(["whole batch won"]).check();
    }

    /// The simulator must find what is wrong with a design, and cut it down to something that one can read.
    fn fails(runs: &Runs<impl App>, invariant: &str, most_decisions: usize) -> Found {
        let found = runs.run().found.expect("this design does not hold");
        assert_eq!(
            found.failure.violation.oracle,
            Oracle::Invariant(invariant.to_owned()),
            "{}",
            found.story
        );
        assert!(found.size <= most_decisions, "{} decisions:\n{}", found.size, found.story);
        found
    }

    #[test]
    fn a_number_that_is_put_loses_what_was_sold_elsewhere() {
        let found = fails(&Runs::new(Naive), "the books balance", 7);
        assert_eq!(found.plan.setup.replicas, 2, "{}", found.story);
    }

    #[test]
    fn a_counter_sells_the_last_one_twice() {
        fails(&Runs::new(Counted { sells_out: true }), "nothing is sold twice", 10);
    }

    #[test]
    fn a_quota_of_a_device_is_sold_again_when_its_disk_is_set_back() {
        fails(&quotas_of_devices().seeds(1_000..1_300), "nothing is sold twice", 12);
    }

    #[test]
    fn the_kept_plan_shows_it_without_any_seed() {
        let found = fails(&quotas_of_devices().kept(KEPT), "nothing is sold twice", 12);
        assert!(matches!(found.origin, Origin::File(_)), "{}", found.origin);
    }

    #[test]
    fn of_two_who_claim_a_piece_the_loser_is_not_told_where_the_last_wins() {
        fails(&Runs::new(Reserved(Policy::LastWins)), "whoever was promised a piece has it", 9);
    }
}
