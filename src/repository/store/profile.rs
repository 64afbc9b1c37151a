//! Credentials in the files that AWS's own tools keep: `~/.aws/credentials` and `~/.aws/config`.

use std::path::PathBuf;

use super::cloud::Environment;

/// What a profile says.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) key_id: Option<String>,
    pub(super) secret_key: Option<String>,
    pub(super) token: Option<String>,
    pub(super) region: Option<String>,
}

impl Profile {
    /// The profile that `AWS_PROFILE` names, or the default one; empty without the files.
    pub(super) fn read(environment: &Environment) -> Self {
        let name = environment.get("AWS_PROFILE").unwrap_or("default");
        let text = |variable: &str, file: &str| {
            let home = || environment.get("HOME").map(|home| PathBuf::from(home).join(file));
            let path = environment.get(variable).map(PathBuf::from).or_else(home)?;
            std::fs::read_to_string(path).ok()
        };
        let credentials = text("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
        let config = text("AWS_CONFIG_FILE", ".aws/config");
        let mut profile = Self::default();
        // What the first names, the second does not change.
        profile.take(&credentials.unwrap_or_default(), &[name]);
        profile.take(&config.unwrap_or_default(), &[name, &format!("profile {name}")]);
        profile
    }

    fn take(&mut self, text: &str, sections: &[&str]) {
        let mut is_ours = false;
        for line in text.lines().map(str::trim) {
            if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                is_ours = sections.contains(&section.trim());
            } else if let Some((key, value)) = line.split_once('=').filter(|_| is_ours) {
                self.set(key.trim(), value.trim());
            }
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let field = match key {
            "aws_access_key_id" => &mut self.key_id,
            "aws_secret_access_key" => &mut self.secret_key,
            "aws_session_token" => &mut self.token,
            "region" => &mut self.region,
            _ => return,
        };
        field.get_or_insert_with(|| value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_profile_counts_and_the_first_file_wins() {
        let credentials = "[default]\naws_access_key_id = A\n# x\n[prod]\naws_access_key_id=P\n\
                           aws_secret_access_key = S=1\n";
        let config =
            "[profile prod]\nregion = eu-west-1\naws_access_key_id = other\n[default]\nregion=x";
        let mut profile = Profile::default();
        profile.take(credentials, &["prod"]);
        profile.take(config, &["prod", "profile prod"]);
        assert_eq!(profile.key_id.as_deref(), Some("P"));
        assert_eq!(profile.secret_key.as_deref(), Some("S=1"));
        assert_eq!(profile.region.as_deref(), Some("eu-west-1"));
        assert_eq!(profile.token, None);
    }
}
