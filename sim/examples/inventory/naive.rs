//! The stock of each item is a number, which is read, and put again.

use driftless_sim::app::{App, Batch, Chance, Checked, Device, Schema};

use crate::shop::{self, Act};

#[derive(Clone)]
pub(crate) struct Naive;

impl App for Naive {
    type Act = Act;

    fn schema(&self) -> Schema {
        Schema::new().collection("stock", &[]).collection("log", &[])
    }

    fn draw(&self, chance: &mut Chance) -> Act {
        Act::draw(chance)
    }

    fn act(&mut self, device: &mut Device<'_>, act: Act) {
        let (item, amount) = (act.item(), act.amount());
        let left = device.number("stock", item) + amount;
        if left < 0 {
            return device.sometimes("sold out");
        }
        let entry = shop::next_entry(device, item);
        let batch = Batch::new().put_number("stock", item, left).put_number("log", entry, amount);
        // Whoever may not write yet neither delivers nor sells.
        let _ = device.write(batch);
    }

    fn check(&self, device: &Device<'_>) -> Checked {
        shop::books_balance(device, |item| device.number("stock", item))
    }
}
