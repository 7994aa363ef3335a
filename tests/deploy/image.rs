//! What the Dockerfile promises to those who run the image. Leaves building it to docker. Easy to get wrong: only the
//! last stage counts.
use super::manifests::Files;

pub(crate) struct Image {
    pub port: u16,
    /// `uid:gid`
    pub user: String,
    /// The folder that is the user's own.
    pub data: String,
}

impl Image {
    pub(crate) fn read(files: &Files) -> Image {
        let text = files.text("Dockerfile");
        let last = text.rsplit("\nFROM ").next().unwrap_or_default();
        let of = |word: &str| last.lines().find_map(|line| line.strip_prefix(word)).map(str::trim);
        let data = last.lines().find(|line| line.contains("install -d -o tieout")).unwrap_or_default();
        Image {
            port: of("EXPOSE ").and_then(|port| port.parse().ok()).expect("the Dockerfile exposes one port"),
            user: of("USER ").expect("the Dockerfile names a user").into(),
            data: data.split_whitespace().last().expect("the Dockerfile makes a data folder").into(),
        }
    }

    pub(crate) fn uid(&self) -> Option<u64> {
        self.user.split(':').next()?.parse().ok()
    }
}
