//! Who wrote versions, as people call them.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use driftless::{DeviceId, Hlc, SyncgroupId, Version};
use driftless_tokio::Database;

use crate::protocol::{Problem, Who};

/// What the members of syncgroups call themselves.
pub(super) struct Names {
    database: Database,
    known: BTreeMap<SyncgroupId, BTreeMap<DeviceId, String>>,
}

impl Names {
    pub(super) fn new(database: &Database) -> Self {
        Self { database: database.clone(), known: BTreeMap::new() }
    }

    /// Asks who is in a syncgroup, unless that is known.
    pub(super) async fn learn(&mut self, syncgroup: SyncgroupId) -> Result<(), Problem> {
        if !self.known.contains_key(&syncgroup) {
            let members = self.database.syncgroup(&syncgroup.to_string()).await?.members().await?;
            let names = members.into_iter().map(|member| (member.device, member.name.to_string()));
            self.known.insert(syncgroup, names.collect());
        }
        Ok(())
    }

    /// What a device calls itself, in a syncgroup.
    pub(super) fn name(&self, syncgroup: &SyncgroupId, device: &DeviceId) -> Option<String> {
        self.known.get(syncgroup)?.get(device).cloned()
    }

    pub(super) fn who(
        &self,
        syncgroup: &SyncgroupId,
        version: Version,
        stamp: Hlc,
        batch: Option<[u8; 16]>,
    ) -> Who {
        Who {
            version: version.to_string(),
            short: short(&version),
            device: version.author.device.to_string(),
            name: self.name(syncgroup, &version.author.device),
            wall_ms: stamp.wall().0,
            batch: batch.map(|id| HEXLOWER.encode(&id)),
        }
    }
}

/// A version as people read it: the start of its device, and its number.
pub(super) fn short(version: &Version) -> String {
    let device = version.author.device.to_string();
    format!("{}/{}", &device[..12.min(device.len())], version.generation)
}
