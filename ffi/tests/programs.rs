//! C programs that try the library as a host would. Each aborts at the first thing that is not so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "support/cc.rs"]
mod cc;

use cc::{Link, Program};

/// How much less is to be done than usual, for tools that slow programs down.
fn scale() -> u32 {
    std::env::var("POINTSMAN_SCALE").map_or(1, |scale| scale.parse().unwrap())
}

#[test]
fn the_whole_surface() {
    Program::new("surface.c").run();
}

#[test]
fn the_whole_surface_of_the_shared_library() {
    Program::new("surface.c").link(Link::Shared).run();
}

#[test]
fn every_error_has_its_status_and_writes_nothing() {
    Program::new("errors.c").run();
}

#[test]
fn prompts_in_every_form() {
    Program::new("prompts.c").run();
}

#[test]
fn policies_written_in_c() {
    Program::new("policy.c").run();
}

#[test]
fn what_engines_say() {
    let captured = cc::root().join("tests/data/engine");
    Program::new("engine.c").arguments(&[captured.to_str().unwrap()]).run();
}

#[test]
fn logs() {
    Program::new("logs.c").run();
}

#[test]
fn workers_that_change_and_are_listed() {
    Program::new("workers.c").run();
}

#[test]
fn every_function_in_every_callback() {
    Program::new("callbacks.c").run();
}

#[test]
fn sixty_four_threads_on_one_router() {
    let selections = if cfg!(debug_assertions) { 16_000 } else { 64_000 } / scale();
    Program::new("threads.c").arguments(&["64", &selections.to_string()]).run();
}

#[test]
fn a_fork_after_creation() {
    Program::new("forks.c").run();
}

#[test]
fn loaded_and_unloaded_a_hundred_times() {
    Program::new("loads.c").link(Link::Loaded).run();
}

#[test]
fn requests_allocate_nothing() {
    let wrap = "-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free,\
                --wrap=aligned_alloc,--wrap=posix_memalign";
    Program::new("allocations.c").flags(&[wrap]).run();
}

#[test]
fn requests_need_little_stack() {
    let kib = if cfg!(debug_assertions) { "160" } else { "64" };
    Program::new("stacks.c").arguments(&[kib]).run();
}
