//! What lists say of acts that wait for places.

/// The lines below a list; nothing where nothing waits.
pub(super) fn waiting_for_places(acts: &[String]) -> String {
    if acts.is_empty() {
        return String::new();
    }
    let acts = acts.join(", ");
    format!(
        "\n\nWaits for places, and takes effect as soon as enough of them hold it: {acts}\n\
         `cloison status` says who holds the log."
    )
}
