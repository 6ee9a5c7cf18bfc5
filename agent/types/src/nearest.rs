//! "Did you mean": the known name that is meant by a mistyped one.

/// The known name that a reader would take `name` for; none where nothing is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let furthest = (name.chars().count() / 3).clamp(1, 3);
    let name = name.to_lowercase();
    let near = known.into_iter().map(|known| {
        let distance = strsim::damerau_levenshtein(&name, &known.to_lowercase());
        (distance, known)
    });
    near.filter(|(distance, _)| *distance <= furthest)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// `: did you mean paris?`, or nothing.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!(": did you mean {near}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_name_is_not() {
        let known = ["paris", "rome", "Berlin"];
        assert_eq!(nearest("pariss", known), Some("paris"));
        assert_eq!(nearest("rmoe", known), Some("rome"));
        assert_eq!(nearest("berlin", known), Some("Berlin"));
        assert_eq!(nearest("oslo", known), None);
        assert_eq!(did_you_mean("prais", known), ": did you mean paris?");
        assert_eq!(did_you_mean("x", known), "");
    }
}
