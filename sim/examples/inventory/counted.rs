//! The stock of each item is a counter: whatever is added on different devices adds up.

use driftless::{Merge, Policy};
use driftless_sim::app::{App, Batch, Chance, Checked, Device, Schema};

use crate::shop::{self, Act};

#[derive(Clone)]
pub(crate) struct Counted {
    /// Whether it matters that nothing is sold twice. It need not: some shops order more, and deliver later.
    pub(crate) sells_out: bool,
}

impl App for Counted {
    type Act = Act;

    fn schema(&self) -> Schema {
        Schema::new().collection("stock", &[("", Policy::Merge(Merge::Counter))]).collection("log", &[])
    }

    fn draw(&self, chance: &mut Chance) -> Act {
        Act::draw(chance)
    }

    fn act(&mut self, device: &mut Device<'_>, act: Act) {
        let (item, amount) = (act.item(), act.amount());
        if device.number("stock", item) + amount < 0 {
            return device.sometimes("sold out");
        }
        let entry = shop::next_entry(device, item);
        let _ = device.write(Batch::new().add("stock", item, amount).put_number("log", entry, amount));
    }

    fn check(&self, device: &Device<'_>) -> Checked {
        let stock = |item: &str| device.number("stock", item);
        shop::books_balance(device, stock)?;
        if self.sells_out { shop::nothing_is_sold_twice(stock) } else { Ok(()) }
    }
}
