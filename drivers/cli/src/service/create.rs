//! What speaks against a new syncgroup: names that would not be enough any more to say what is meant.

use driftless::Name;
use driftless_tokio::Database;

use crate::protocol::Problem;

/// Refuses names that are taken in a database. Others may bring them all the same, by an invitation; but who makes
/// them mostly means what is there already.
pub(super) async fn check(database: &Database, name: &Name, collections: &[Name]) -> Result<(), Problem> {
    let all = database.syncgroups().await?;
    if let Some(info) = all.iter().find(|info| info.name.as_ref() == Some(name)) {
        return Err(taken(&format!(
            "there is a syncgroup \"{name}\" already ({:.12}); driftless syncgroup add-collection adds to it",
            info.id.to_string()
        )));
    }
    for collection in database.collections()? {
        if collections.contains(collection.name()) {
            let here = collection.syncgroup();
            let info = all.iter().find(|info| info.id == here);
            let group = info.and_then(|info| info.name.as_ref()).map_or("(arriving)", Name::as_str);
            return Err(taken(&format!(
                "syncgroup \"{group}\" ({:.12}) has a collection \"{}\" already",
                here.to_string(),
                collection.name()
            )));
        }
    }
    Ok(())
}

fn taken(what: &str) -> Problem {
    Problem { refused: true, message: format!("{what}; to have another of this name: --another") }
}
