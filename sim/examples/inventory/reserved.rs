//! There are three pieces, and customers who each claim one. The piece and the customer's row are written in one
//! batch. Two may claim the same one while apart; then one of them must be told.

use driftless::{Choice, Conflict, Policy, Resolution};
use driftless_sim::app::{App, Batch, Chance, Checked, Device, Schema, ensure};

/// With what becomes of conflicts about pieces and customers.
#[derive(Clone)]
pub(crate) struct Reserved(pub(crate) Policy);

const SORRY: &str = "sorry";

impl App for Reserved {
    /// Which piece a customer claims.
    type Act = u8;

    fn schema(&self) -> Schema {
        let rules = [("", self.0.clone())];
        Schema::new().collection("pieces", &rules).collection("customers", &rules)
    }

    fn draw(&self, chance: &mut Chance) -> u8 {
        chance.below(3) as u8
    }

    fn act(&mut self, device: &mut Device<'_>, piece: u8) {
        let piece = piece.to_string();
        if device.get("pieces", &piece).is_none() {
            let mine = device.rows_under("customers", device.me()).len();
            let customer = format!("{}/{mine}", device.me());
            let _ = device.write(Batch::new().put("pieces", &piece, customer.clone()).put(
                "customers",
                customer,
                piece,
            ));
        }
    }

    /// The first one gets the piece, by the stamps of their batches. The rows of the others are in the same conflict,
    /// because their batches wrote them too; so they are told in the same batch. Whoever gets the piece has its own row
    /// written again: if this answer should lose to another one, that row is in the conflict, and it can be told.
    fn resolve(&mut self, device: &Device<'_>, conflict: &Conflict) -> Resolution {
        device.sometimes("claimed twice");
        let is_piece = |row: &&driftless::ConflictedRow| row.row.collection.as_str() == "pieces";
        let mut resolution = Resolution::new();
        let (mut winners, mut losers) = (Vec::new(), Vec::new());
        for row in conflict.open().filter(is_piece) {
            let Some(first) = row.heads.iter().min_by_key(|head| (head.stamp, head.version)) else {
                continue;
            };
            let others = row.heads.iter().filter(|head| head.value != first.value);
            losers.extend(others.filter_map(|head| head.value.clone()));
            winners.extend(first.value.clone().map(|customer| (customer, row.row.key.clone())));
            resolution = resolution.answer(row, Choice::Pick(first.version));
        }
        for row in conflict.rows.iter().filter(|row| !is_piece(row)) {
            if losers.contains(&row.row.key) {
                resolution = resolution.answer(row, Choice::Put(SORRY.into()));
            } else if let Some((_, piece)) = winners.iter().find(|(customer, _)| *customer == row.row.key) {
                resolution = resolution.answer(row, Choice::Put(piece.clone()));
            }
        }
        resolution
    }

    /// While a conflict is open somebody may be promised a piece that another one has. In the end nobody is.
    fn settled(&self, device: &Device<'_>) -> Checked {
        device.rows("customers").iter().filter(|row| row.value != SORRY).try_for_each(|row| {
            let (customer, piece) = (String::from_utf8_lossy(&row.key), String::from_utf8_lossy(&row.value));
            let owner = device.get("pieces", piece.as_bytes()).unwrap_or_default();
            let seen = format_args!("{customer} was promised piece {piece}, which {owner:?} has");
            ensure(owner == row.key, "whoever was promised a piece has it", seen)
        })
    }
}
