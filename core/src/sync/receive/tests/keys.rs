//! What somebody with an earlier key, and another one to follow it, cannot have others take for the present key's.

use super::*;
use crate::keys::{KeyChain, Life};

/// This device's next key, by its number.
fn next(keys: &Keys, n: u8) -> Keys {
    let secret = SecretKey([n; 32]);
    let chain = keys.chain.rolled_over(&keys.secret, &secret, &Ed25519).unwrap();
    Keys::of(secret, chain, &Ed25519).unwrap()
}

/// A log that begins with what it says of its keys, signed by somebody.
fn begins(here: &Here, (of, nonce): (&KeyChain, u64), incarnation: Incarnation, signer: &Keys) -> Run {
    let records = |_| {
        let (chain, until) = (of.clone(), Vec::new());
        alloc::vec![Record::Meta(MetaRecord::Rollover { chain, nonce, until })]
    };
    let change = |_, header: &mut Header| header.dependencies.push(genesis(here));
    let mut run = log_of(here, (signer, incarnation), 1, change, records);
    let mut tree = Tree::default();
    tree.append(Encoded::read(run.generations[0].clone()).unwrap().leaf);
    run.proof.checkpoint = Checkpoint::sign(&here.id, &run.author, &tree, (signer, nonce));
    run
}

#[test]
fn under_the_name_of_a_log_of_one_key_another_one_begins_none() {
    let here = here();
    let (owner, rival) = (next(&here.replica.keys, 5), next(&here.replica.keys, 6));
    let name = owner.chain.life(7).incarnation;
    let own = |signer: &Keys| begins(&here, (&owner.chain, 7), name, signer);
    assert_eq!(take(&here, alloc::vec![own(&owner)]), (Ok(1), true));
    assert_eq!(take(&here, alloc::vec![own(&next(&owner, 8))]), (Ok(1), true), "a later key signs as well");
    let wrong = (Err("a checkpoint that its author did not sign"), false);
    for signer in [&rival, &next(&rival, 8), &here.replica.keys] {
        assert_eq!(take(&here, alloc::vec![own(signer)]), wrong);
        assert_eq!(take(&here, alloc::vec![begins(&here, (&rival.chain, 7), name, signer)]), wrong);
    }
    // Nor does a log say that it is of another key, whoever has signed it.
    let says = begins(&here, (&rival.chain, 7), name, &owner);
    assert_eq!(take(&here, alloc::vec![says]).0, Err("a checkpoint by another key than that of the log"));
    let drawn = begins(&here, (&owner.chain, 8), name, &owner);
    assert_eq!(take(&here, alloc::vec![drawn]), wrong);
}

#[test]
fn whoever_has_an_earlier_key_proves_no_fork_of_a_later_ones_log_and_leaves_room_for_those_of_it() {
    let here = here();
    let (owner, rival) = (next(&here.replica.keys, 5), next(&here.replica.keys, 6));
    let forked = |signer: &Keys, of: &Keys, nonce: u64| {
        let Life { incarnation, .. } = of.chain.life(nonce);
        let author = Author { device: of.device, incarnation };
        let branch = |of: u8| {
            let (leaf, mut tree) = (crate::log::tree::leaf(&[of]), Tree::default());
            tree.append(leaf);
            let checkpoint = Checkpoint::sign(&here.id, &author, &tree, (signer, of_key(incarnation, nonce)));
            Branch { leaf, checkpoint, completion: Vec::new() }
        };
        Fork::new(author, &Tree::default(), branch(1), branch(2))
    };
    let taken = |forks: &[Fork]| {
        let change = |n, header: &mut Header| header.dependencies.extend((n == 1).then(|| genesis(&here)));
        let records = |n: u64| {
            let fork = alloc::boxed::Box::new(forks[n as usize - 1].clone());
            alloc::vec![Record::Meta(MetaRecord::Fork(fork))]
        };
        take(&here, alloc::vec![run_of(&here, &here.replica.keys, forks.len() as u64, change, records)]).0
    };
    assert_eq!(taken(&[forked(&owner, &owner, 7)]), Ok(1));
    for signer in [&rival, &here.replica.keys] {
        assert_eq!(taken(&[forked(signer, &owner, 7)]), Err("a fork that is not proven"));
    }
    let most = limits::MAX_FORKS as u64;
    let by = |keys: &Keys| (10..=10 + most).map(|nonce| forked(keys, keys, nonce)).collect::<Vec<_>>();
    for thief in [&here.replica.keys, &rival] {
        assert_eq!(taken(&by(thief)), Ok(limits::MAX_FORKS), "its own are as many as anybody's");
        let mut forks = by(thief);
        forks.pop();
        forks.push(forked(&owner, &owner, 7));
        assert_eq!(taken(&forks), Ok(limits::MAX_FORKS + 1));
    }
}

/// What is told of a log's name.
fn of_key(incarnation: Incarnation, nonce: u64) -> u64 {
    Life { incarnation, nonce }.told()
}
