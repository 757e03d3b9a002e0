//! Shows that the core needs no standard library, on any target, even on one that has it.
//!
//! A program has one panic handler. This one brings its own, so that a dependency of the core which links `std`
//! brings a second one, and the build fails: "duplicate lang item `panic_impl`" (E0152). The feature `std-user`
//! adds such a dependency; `.ci/run` checks that the build fails with it.
#![no_std]

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

use driftless::store::MemStore;
use driftless::{Config, Continuity, Core, Event, Identity, Mono, Name, Now, Outbox, SecretKey, Wall};
#[cfg(feature = "std-user")]
use std_user as _;

/// Has no memory: this library is built, never run.
struct NoMemory;

// SAFETY: a null pointer is always a permitted answer, and nothing can be freed that was never given.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// Reaches the whole of the core, so that all of it is compiled for the target.
#[unsafe(no_mangle)]
pub extern "C" fn driftless_no_std() -> bool {
    let Ok(name) = Name::new("device") else { return false };
    let identity = Identity { chain: None, secret: SecretKey([7; 32]), continuity: Continuity::Unknown };
    let (store, mut outbox) = (MemStore::new(), Outbox::new());
    let Ok(mut core) = Core::boot(&Config::new(name), &identity, [0; 32], &store, &mut outbox) else {
        return false;
    };
    let now = Now { mono: Mono(0), wall: Wall(0) };
    core.handle(now, Event::Tick, &store, &mut outbox).is_ok()
}
