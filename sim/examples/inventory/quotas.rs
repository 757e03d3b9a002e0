//! Each shop has a counter of its own for each item, its quota. Anybody may add to it, and only the shop takes from
//! it: so what it sees there may be too little, and is never too much. Who runs short asks, and who has plenty shares.
//!
//! (This is known as a bounded counter, or as escrow.)

use driftless::{Merge, Policy};
use driftless_sim::app::{App, Batch, Chance, Checked, Device, Schema};

use crate::shop::{self, Act};

#[derive(Clone)]
pub(crate) struct Quotas {
    /// Whose a quota is. It must be the author's: a device whose disk was set back to an old copy sees its quota as it
    /// was then, and would sell it a second time. It is another author from then on.
    pub(crate) of_author: bool,
}

impl Quotas {
    fn owner(&self, device: &Device<'_>) -> String {
        if self.of_author { device.me() } else { format!("{:?}", device.author().device) }
    }

    fn quota(&self, device: &Device<'_>, item: &str) -> String {
        format!("{item}/{}", self.owner(device))
    }
}

impl App for Quotas {
    type Act = Act;

    fn schema(&self) -> Schema {
        let counter = Policy::Merge(Merge::Counter);
        Schema::new().collection("quota", &[("", counter)]).collection("log", &[]).collection("asked", &[])
    }

    fn draw(&self, chance: &mut Chance) -> Act {
        Act::draw(chance)
    }

    fn act(&mut self, device: &mut Device<'_>, act: Act) {
        let (item, amount) = (act.item(), act.amount());
        let quota = self.quota(device, item);
        let batch = if device.number("quota", &quota) + amount < 0 {
            device.sometimes("sold out");
            Batch::new().put_number("asked", quota, -amount)
        } else {
            let entry = shop::next_entry(device, item);
            Batch::new().add("quota", quota, amount).put_number("log", entry, amount)
        };
        let _ = device.write(batch);
    }

    /// Shares with who asks, as long as half of what is here is enough.
    fn changed(&mut self, device: &mut Device<'_>) {
        for asked in device.rows("asked") {
            let theirs = String::from_utf8_lossy(&asked.key).into_owned();
            let wanted = String::from_utf8_lossy(&asked.value).parse().unwrap_or(0);
            let Some((item, _)) = theirs.split_once('/') else { continue };
            let mine = self.quota(device, item);
            if mine != theirs && device.number("quota", &mine) >= 2 * wanted {
                let share = Batch::new().add("quota", &mine, -wanted).add("quota", &theirs, wanted);
                if device.write(share.delete("asked", &theirs)).is_ok() {
                    device.sometimes("shared");
                }
            }
        }
    }

    fn check(&self, device: &Device<'_>) -> Checked {
        let quotas = |item: &str| device.rows_under("quota", format!("{item}/"));
        let number = |value: &[u8]| String::from_utf8_lossy(value).parse::<i64>().unwrap_or(0);
        shop::books_balance(device, |item| quotas(item).iter().map(|row| number(&row.value)).sum())?;
        shop::nothing_is_sold_twice(|item| {
            quotas(item).iter().map(|row| number(&row.value)).min().unwrap_or(0)
        })
    }
}
