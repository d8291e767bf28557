//! A panic must become a status, which needs unwinding. A file of its own, so that a test can show
//! the refusal without building the rest.

#[cfg(panic = "abort")]
compile_error!(
    "libpointsman turns panics into status codes and cannot be built with panic = \"abort\""
);
