//! What does not hold yet, file by file. The list may only shrink.
//!
//! An exception that is no longer needed fails the test that used it, and so does a list that grew.

/// A rule that one file breaks.
#[derive(Debug)]
pub(crate) struct Exception {
    /// The rule, as its test names it.
    pub(crate) rule: &'static str,
    /// The file, or whatever else the rule names.
    pub(crate) subject: &'static str,
    /// Why it is allowed, and what would end it.
    pub(crate) reason: &'static str,
}

/// Lower this with every exception that goes. Raising it needs a reason that survives review.
pub(crate) const EXCEPTIONS_COUNT_MAX: usize = 0;

/// Every exception.
pub(crate) const EXCEPTIONS: &[Exception] = &[];

/// Fails unless each violation `(subject, what is wrong)` of `rule` has an exception and each
/// exception of `rule` has a violation.
pub(crate) fn hold(rule: &str, violations: &[(String, String)]) {
    let is_excepted = |subject: &str| {
        EXCEPTIONS
            .iter()
            .any(|exception| exception.rule == rule && exception.subject == subject)
    };
    let open: Vec<String> = violations
        .iter()
        .filter(|(subject, _)| !is_excepted(subject))
        .map(|(subject, wrong)| format!("{subject}: {wrong}"))
        .collect();
    assert!(
        open.is_empty(),
        "rule `{rule}` is broken:\n  {}",
        open.join("\n  ")
    );

    let stale: Vec<&str> = EXCEPTIONS
        .iter()
        .filter(|exception| exception.rule == rule)
        .map(|exception| exception.subject)
        .filter(|subject| !violations.iter().any(|(violation, _)| violation == subject))
        .collect();
    assert!(
        stale.is_empty(),
        "exceptions of rule `{rule}` that can go: {stale:?}"
    );
}

#[test]
fn the_list_of_exceptions_only_shrinks() {
    assert_eq!(
        EXCEPTIONS.len(),
        EXCEPTIONS_COUNT_MAX,
        "add none; when one goes, lower EXCEPTIONS_COUNT_MAX"
    );
    assert!(
        EXCEPTIONS
            .iter()
            .all(|exception| exception.reason.len() >= 20)
    );
}
