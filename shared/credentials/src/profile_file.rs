//! AWS's `~/.aws/config` and `~/.aws/credentials`: sections of `name = value`.
//!
//! Source: docs.aws.amazon.com/sdkref/latest/guide/file-format.html.

use std::collections::BTreeMap;

/// Profiles by name, those of both files joined; what the credentials file says counts first.
#[derive(Debug, Default)]
pub(crate) struct Profiles(BTreeMap<String, BTreeMap<String, String>>);

// === impl Profiles ===

impl Profiles {
    pub(crate) fn read(config: &str, credentials: &str) -> Self {
        let mut profiles = Self::default();
        profiles.add(config, |section| match section {
            "default" => Some("default"),
            section => section.strip_prefix("profile").filter(|name| name.starts_with([' ', '\t'])).map(str::trim),
        });
        profiles.add(credentials, Some);
        profiles
    }

    pub(crate) fn get(&self, profile: &str) -> Option<&BTreeMap<String, String>> {
        self.0.get(profile)
    }

    fn add<'t>(&mut self, text: &'t str, name_of: impl Fn(&'t str) -> Option<&'t str>) {
        let mut current: Option<&str> = None;
        for line in text.lines() {
            // What is indented belongs to the setting above, which none of ours has.
            let is_indented = line.starts_with([' ', '\t']);
            let line = line.trim();
            if is_indented || line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some((section, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                current = name_of(section.trim());
                continue;
            }
            let (Some(profile), Some((name, value))) = (current, line.split_once('=')) else { continue };
            let value = value.split_once(" #").map_or(value, |(value, _)| value);
            let settings = self.0.entry(profile.to_owned()).or_default();
            settings.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_joined_as_awss_programs_do() {
        let config = "[default]\nregion = eu-west-1 # here\n[profile one]\nrole_arn=arn:aws:iam::1:role/r\nsource_profile = default\n\
                      s3 =\n  addressing_style = path\n[sso-session x]\nsso_region = y\n[profiles]\nbad = 1\n";
        let credentials = "; ours\n[default]\naws_access_key_id=AKIA1\nAWS_SECRET_ACCESS_KEY = s=/+\n";
        let profiles = Profiles::read(config, credentials);
        let default = profiles.get("default").expect("there");
        assert_eq!(default["region"], "eu-west-1");
        assert_eq!(
            (default["aws_access_key_id"].as_str(), default["aws_secret_access_key"].as_str()),
            ("AKIA1", "s=/+")
        );
        let one = profiles.get("one").expect("there");
        assert_eq!((one["role_arn"].as_str(), one["source_profile"].as_str()), ("arn:aws:iam::1:role/r", "default"));
        assert!(!one.contains_key("addressing_style"));
        for none in ["sso-session x", "x", "profiles", "s"] {
            assert!(profiles.get(none).is_none(), "{none}");
        }
    }
}
