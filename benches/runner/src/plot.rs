use crate::samples::Samples;

pub(crate) fn all(_samples: &Samples) -> Vec<(&'static str, String)> {
    Vec::new()
}
