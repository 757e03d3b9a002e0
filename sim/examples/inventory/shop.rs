//! What all designs have in common: what people do in shops, and the log of it.

use driftless_sim::app::{Chance, Checked, Device, ensure};
use serde::{Deserialize, Serialize};

/// What is sold.
const ITEMS: [&str; 2] = ["apples", "pears"];

/// What people do: how many of which item.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Act {
    Deliver(usize, i64),
    Sell(usize, i64),
}

impl Act {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let item = chance.below(ITEMS.len() as u64) as usize;
        match chance.one_in(3) {
            true => Act::Deliver(item, chance.between(1, 9) as i64),
            false => Act::Sell(item, chance.between(1, 4) as i64),
        }
    }

    pub(crate) fn item(self) -> &'static str {
        let (Act::Deliver(item, _) | Act::Sell(item, _)) = self;
        ITEMS[item % ITEMS.len()]
    }

    /// By how much it changes the stock.
    pub(crate) fn amount(self) -> i64 {
        match self {
            Act::Deliver(_, count) => count.max(1),
            Act::Sell(_, count) => -count.max(1),
        }
    }
}

/// The key of the next entry in the log. Only its author writes rows that start with its name, so that no two devices
/// write the same.
pub(crate) fn next_entry(device: &Device<'_>, item: &str) -> String {
    let mine = format!("{item}/{}/", device.me());
    format!("{mine}{}", device.rows_under("log", &mine).len())
}

/// What must be true of all designs: the stock, however it is kept, is what the log comes to.
pub(crate) fn books_balance(device: &Device<'_>, stock: impl Fn(&str) -> i64) -> Checked {
    ITEMS.iter().try_for_each(|item| {
        let log = device.rows_under("log", format!("{item}/"));
        let number = |value: &[u8]| String::from_utf8_lossy(value).parse::<i64>().unwrap_or(0);
        let (stock, log) = (stock(item), log.iter().map(|row| number(&row.value)).sum::<i64>());
        let seen = format_args!("{stock} {item} in stock, and {log} by the log");
        ensure(stock == log, "the books balance", seen)
    })
}

/// And what should be.
pub(crate) fn nothing_is_sold_twice(stock: impl Fn(&str) -> i64) -> Checked {
    ITEMS.iter().try_for_each(|item| {
        let stock = stock(item);
        ensure(stock >= 0, "nothing is sold twice", format_args!("{stock} {item} in stock"))
    })
}
