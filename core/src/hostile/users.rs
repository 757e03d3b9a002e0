//! Forgeries that have to do with users (S-3).

use alloc::vec::Vec;

use super::forge::ForgedLog;
use super::{Content, Forgery, Stage};
use crate::crypto::SecretKey;
use crate::id::{DeviceId, Name, PublicKey, Version};
use crate::log::record::{MetaRecord, Record};
use crate::replica::plan::Plan;
use crate::syncgroup::Rights;
use crate::syncgroup::access::Holder;
use crate::user::{Certificate, UserKey};

/// The number of a certificate that no user will make.
const GREATEST: u64 = u64::MAX;

impl ForgedLog<'_> {
    /// What it says of users; `None` where it takes one, and there is none.
    pub(super) fn of_users(&self) -> Option<(Vec<Record>, Content)> {
        let stage = self.stage;
        let keys = &stage.core.replica.keys;
        let name = Name::new("hostile").ok()?;
        // The device's own key makes it its own user, or a false one.
        let own = UserKey::new(name.clone(), keys.secret.clone(), keys.scheme);
        let ghost = PublicKey(stage.bytes("ghost"));
        let (device, meta) = (keys.device, |record| alloc::vec![Record::Meta(record)]);
        let enrol = |certificate| meta(MetaRecord::Enrol { certificate, request: None });
        Some(match self.forgery {
            Forgery::StrangeCertificate => {
                let forged = own.certify(keys.first(), name, GREATEST);
                (enrol(forged.made_out_to(stage.user().unwrap_or(ghost))), Content::Never)
            }
            Forgery::MisplacedCertificate => {
                let it = stage.certificate().unwrap_or_else(|| own.certify(keys.first(), name, GREATEST));
                (enrol(it.made_out_for(ghost)), Content::Never)
            }
            Forgery::RepeatsCertificate => {
                let it = stage.certificate()?;
                let content = Content::Enrols(it.user(), it.device(), it.number());
                (enrol(it), content)
            }
            Forgery::StrangeUser => {
                let secret = SecretKey(stage.bytes("user"));
                let user = UserKey::new(name.clone(), secret, keys.scheme);
                let content = Content::Enrols(user.id(), device, 1);
                (enrol(user.certify(keys.first(), name, 1)), content)
            }
            Forgery::AdmitsOwnUser => {
                let (key, rights) = (own.public(), Rights::Admin);
                let admit = MetaRecord::AdmitUser { key, name, rights, ends: None, request: None };
                (meta(admit), Content::AdmitsUser(key.user(), rights))
            }
            Forgery::LetsInRemovedAsUser => {
                let (removed, rights) = (stage.removed().unwrap_or(ghost), Rights::Write);
                let user = UserKey::new(name.clone(), SecretKey(stage.bytes("user")), keys.scheme);
                let (key, certificate) = (user.public(), user.certify(removed, name.clone(), 1));
                let admit = MetaRecord::AdmitUser { key, name, rights, ends: None, request: None };
                let records = [admit, MetaRecord::Enrol { certificate, request: None }];
                let content = Content::AdmitsAs(user.id(), removed.device(), rights);
                (records.into_iter().map(Record::Meta).collect(), content)
            }
            Forgery::RemovesUser => {
                let user = stage.user()?.user();
                let group = stage.core.replica.group(&stage.syncgroup)?;
                let above = group.metadata.access.grants_above(Holder::User(user), None);
                let grants: Vec<Version> = above.into_iter().map(|(grant, _)| grant).collect();
                let (keep, until) = (None, Vec::new());
                let revoke = MetaRecord::RevokeUser { user, grants: grants.clone(), keep, ends: None, until };
                (meta(revoke), Content::RevokesUser { user, grants })
            }
            _ => {
                let forged = own.strike_off(&stage.syncgroup, stage.peer, GREATEST, Vec::new());
                let forged = forged.made_out_to(stage.user().unwrap_or(ghost));
                (meta(MetaRecord::StrikeOff(forged)), Content::Never)
            }
        })
    }
}

impl Stage<'_> {
    /// Certificates that make the device nobody's: a user's without its signature, and another device's.
    pub(super) fn false_certificates(&self) -> Vec<Certificate> {
        let keys = &self.core.replica.keys;
        let of_user = self.user().zip(Name::new("hostile").ok()).map(|(user, name)| {
            let own = UserKey::new(name.clone(), keys.secret.clone(), keys.scheme);
            own.certify(keys.first(), name, GREATEST).made_out_to(user)
        });
        let of_another = self.certificate().filter(|it| it.device() != keys.device);
        of_user.into_iter().chain(of_another).collect()
    }

    /// The key of a user to whom something was granted, other than the one that the device makes itself.
    fn user(&self) -> Option<PublicKey> {
        let own = self.core.replica.keys.first();
        let group = self.core.replica.group(&self.syncgroup)?;
        let granted: Vec<Version> =
            group.metadata.access.users().into_iter().map(|user| user.granted).collect();
        self.records(&granted).into_iter().find_map(|record| match record {
            Record::Meta(MetaRecord::AdmitUser { key, .. }) if key != own => Some(key),
            _ => None,
        })
    }

    /// A certificate that there is.
    fn certificate(&self) -> Option<Certificate> {
        let group = self.core.replica.group(&self.syncgroup)?;
        let admitted: Vec<Version> =
            group.metadata.access.members().into_iter().map(|member| member.admitted).collect();
        self.records(&admitted).into_iter().find_map(|record| match record {
            Record::Meta(MetaRecord::Enrol { certificate, .. }) => Some(certificate),
            _ => None,
        })
    }

    /// The key of a device that an admin has removed.
    pub(super) fn removed(&self) -> Option<PublicKey> {
        let members = self.core.replica.group(&self.syncgroup)?.metadata.access.members().into_iter();
        let admitted: Vec<Version> = members.filter(|it| it.removed).map(|it| it.admitted).collect();
        self.records(&admitted).into_iter().find_map(|record| match record {
            Record::Meta(MetaRecord::Admit { key, .. }) => Some(key),
            _ => None,
        })
    }

    /// The key of a member.
    pub(super) fn key_of(&self, device: &DeviceId) -> Option<PublicKey> {
        let members = self.core.replica.group(&self.syncgroup)?.metadata.access.members().into_iter();
        let admitted: Vec<Version> =
            members.filter(|it| it.device == *device).map(|it| it.admitted).collect();
        self.records(&admitted).into_iter().find_map(|record| match record {
            Record::Meta(MetaRecord::Admit { key, .. }) if key.device() == *device => Some(key),
            Record::Meta(MetaRecord::Enrol { certificate, .. }) if certificate.device() == *device => {
                Some(certificate.device_key())
            }
            _ => None,
        })
    }

    /// The records of some generations, beginning with one that is drawn.
    fn records(&self, versions: &[Version]) -> Vec<Record> {
        let (replica, mut versions) = (&self.core.replica, versions.to_vec());
        let drawn = self.draw("user") as usize;
        let first = drawn.checked_rem(versions.len()).unwrap_or(0);
        versions.rotate_left(first);
        let Some(group) = replica.group(&self.syncgroup) else { return Vec::new() };
        let plan = Plan::new(replica, self.view);
        let read = |version: Version| {
            let ix = plan.author_ix(&version.author)?;
            let stored = plan.stored(group.ix, ix, version.generation).ok()?;
            stored.encoded().ok()?.records(&version.author).ok()
        };
        versions.into_iter().filter_map(read).flatten().collect()
    }
}
