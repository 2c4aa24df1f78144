//! Which name somebody meant who wrote another.

/// Characters of a name that are quoted back.
const QUOTED: usize = 100;

/// A common beginning of so many characters makes a name worth suggesting, whatever follows (`expiry`, `expiresAt`).
const BEGINNING: usize = 4;

/// The name among `known` that `name` was probably meant to be.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = plain(name);
    let judged = known.iter().filter_map(|known| {
        let other = plain(known);
        let (distance, common) = (distance(&name, &other), beginning(&name, &other));
        let is_near = distance * 3 <= name.len().max(other.len()) || common >= BEGINNING;
        is_near.then(|| (distance.saturating_sub(common), *known))
    });
    judged.min_by_key(|(score, _)| *score).map(|(_, known)| known)
}

/// The name among `known` that `name` differs from by letter case, punctuation or a letter.
pub(super) fn slip_of<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = plain(name);
    known.iter().find(|known| distance(&name, &plain(known)) <= 1).copied()
}

/// A name that a caller made up, as it may stand in an answer.
pub(super) fn quotable(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).take(QUOTED).collect()
}

/// Without what people leave out or put in: case, dashes, underscores.
fn plain(name: &str) -> Vec<char> {
    name.chars().take(QUOTED).filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn beginning(one: &[char], two: &[char]) -> usize {
    one.iter().zip(two).take_while(|(a, b)| a == b).count()
}

/// Letters to put in, take out, replace or swap with their neighbour.
fn distance(one: &[char], two: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=two.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in two.iter().enumerate() {
            let mut least = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == two[j - 1] && one[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_found() {
        let known = ["name", "isActive", "noLog", "allowedModels", "allowedConnections", "expiresAt", "scopes"];
        for (written, meant) in [
            ("allowedModel", "allowedModels"),
            ("allowed_models", "allowedModels"),
            ("expiry", "expiresAt"),
            ("expires", "expiresAt"),
            ("scope", "scopes"),
            ("nmae", "name"),
            ("active", "isActive"),
        ] {
            assert_eq!(nearest(written, &known), Some(meant), "{written}");
        }
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("", &known), None);
    }

    #[test]
    fn only_a_letter_apart_is_a_slip() {
        let known = ["baseUrl", "customHeaders", "region"];
        for written in ["baseURL", "base_url", "baseUrls", "baesUrl", "customHeader"] {
            assert!(slip_of(written, &known).is_some(), "{written}");
        }
        for written in ["tier", "regional", "url", ""] {
            assert_eq!(slip_of(written, &known), None, "{written}");
        }
    }

    #[test]
    fn names_of_any_length_and_kind_are_judged() {
        let long = "\u{fc}\0".repeat(10_000);
        assert_eq!(nearest(&long, &["name"]), None);
        assert_eq!(quotable(&long).chars().count(), QUOTED);
        assert_eq!(distance(&plain("abcd"), &plain("acbd")), 1);
    }
}
