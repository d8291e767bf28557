//! Labels: of workers, and demanded by requests.

use std::ffi::c_char;
use std::mem::MaybeUninit;

use crate::argument;
use crate::failure::Failure;

/// One label: of a worker, or demanded by a request. For example a model's name, a zone or a customer's
/// tier. A worker has any number of labels, a request at most POINTSMAN_MAX_REQUEST_LABELS, and only
/// workers with all of them may serve it. Metrics do not show labels. Elements of an array of labels lie
/// as far apart as the first one's size says.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_label {
    /// Set by POINTSMAN_LABEL_INIT.
    pub size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// The key, UTF-8.
    pub key: *const c_char,
    /// Its length; POINTSMAN_NUL_TERMINATED by default.
    pub key_length: usize,
    /// The value, UTF-8.
    pub value: *const c_char,
    /// Its length; POINTSMAN_NUL_TERMINATED by default.
    pub value_length: usize,
}

sized!(pointsman_label.reserved);

/// Borrows labels one by one; the array advances by the size of its first element.
///
/// # Safety
/// `labels` is NULL or valid for `count` labels that outlive `'a`.
pub(crate) unsafe fn each_label<'a>(
    labels: *const pointsman_label,
    count: usize,
    mut take: impl FnMut(&'a str, &'a str),
) -> Result<(), Failure> {
    if count == 0 {
        return Ok(());
    }
    let mut room = MaybeUninit::uninit();
    // SAFETY: the caller keeps this function's `# Safety`.
    let stride = unsafe { argument::input(labels, "labels", &mut room) }?.size as usize;
    if stride % align_of::<pointsman_label>() != 0 {
        return Err(Failure::argument("labels", "has elements of an odd size"));
    }
    for i in 0..count {
        let mut room = MaybeUninit::uninit();
        // SAFETY: the caller keeps this function's `# Safety`; elements lie `stride` bytes apart.
        unsafe {
            let at = labels.cast::<u8>().add(i * stride).cast::<pointsman_label>();
            let label = argument::input(at, "labels", &mut room)?;
            let key = argument::text(label.key, label.key_length, "label key")?;
            let value = argument::text(label.value, label.value_length, "label value")?;
            take(key, value);
        }
    }
    Ok(())
}

/// All labels, borrowed.
///
/// # Safety
/// As for [`each_label`].
pub(crate) unsafe fn all_labels<'a>(
    labels: *const pointsman_label,
    count: usize,
) -> Result<Vec<(&'a str, &'a str)>, Failure> {
    let mut all = Vec::new();
    // SAFETY: the caller keeps this function's `# Safety`.
    unsafe { each_label(labels, count, |key, value| all.push((key, value))) }?;
    Ok(all)
}
