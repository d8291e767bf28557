//! C programs that try the library as a host would. Each aborts at the first thing that is not so.

#[path = "support/cc.rs"]
mod cc;

use cc::Link;

#[test]
fn the_whole_surface() {
    cc::check("surface.c");
}

#[test]
fn the_whole_surface_of_the_shared_library() {
    cc::check_linked("surface.c", Link::Shared);
}

#[test]
fn every_error_has_its_status_and_writes_nothing() {
    cc::check("errors.c");
}

#[test]
fn prompts_in_every_form() {
    cc::check("prompts.c");
}
