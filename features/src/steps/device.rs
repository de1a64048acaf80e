//! Devices of the machine, and the driver that tells of them.

use cucumber::gherkin::Step;
use cucumber::{given, when};

use crate::claim::Claim;
use crate::driver;
use crate::world::World;

/// Rows of `| well, lost, reset, or errors of its memory | percent busy | bytes used | bytes in all | name |`, a device a row.
#[given("a driver that tells of the devices")]
fn install(world: &mut World, step: &Step) {
    let folder = driver::install(world.dir.path()).holds();
    let folder = folder.display().to_string();
    world
        .environment
        .push(("LD_LIBRARY_PATH".to_owned(), folder));
    tell(world, step);
}

#[when("the driver tells of the devices")]
fn tell(world: &mut World, step: &Step) {
    let devices = world.rows(step).holds();
    driver::tell(world.dir.path(), &devices).holds();
}
