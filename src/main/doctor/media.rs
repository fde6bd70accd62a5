//! The object store of media: whether it does what the server will ask of it.

use std::time::Instant;

use depesche_config::Config;

use super::Finding;
use crate::media;

/// Writes, reads and deletes an object, if the configuration names a store.
pub fn object_store(config: &Config) -> Option<Finding> {
    let store = config.media.store.as_ref()?;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Some(Finding::wrong(format!("cannot ask the object store: {error}"))),
    };
    let begun = Instant::now();
    Some(match runtime.block_on(media::probe(store)) {
        Ok(()) => Finding::ok(format!(
            "{} takes files and gives them back ({} ms)",
            media::place(store),
            begun.elapsed().as_millis()
        )),
        Err(why) => Finding::wrong(format!("the object store of media does not work: {why}")),
    })
}

#[cfg(test)]
mod tests {
    use depesche_config::Config;

    use super::object_store;
    use crate::doctor::Level;

    #[test]
    fn what_keeps_the_store_from_working_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let (id, secret) = (folder.path().join("id"), folder.path().join("secret"));
        // Nobody listens there any more.
        let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = address.expect("an address");
        let text = format!(
            "[server]\nname = \"example.org\"\n[media.store]\nendpoint = \"http://{address}\"\nbucket = \"b\"\n\
             access_key_id_file = {id:?}\nsecret_access_key_file = {secret:?}\n"
        );
        let config = Config::parse(&text).expect("valid");
        let found = object_store(&config).expect("a finding");
        assert!(found.level == Level::Wrong && found.text.contains("access_key_id_file"), "{found:?}");
        std::fs::write(&id, "id\n").expect("written");
        std::fs::write(&secret, "not-to-be-seen\n").expect("written");
        let found = object_store(&config).expect("a finding");
        assert!(found.level == Level::Wrong && found.text.contains(&address.to_string()), "{found:?}");
        assert!(!found.text.contains("not-to-be-seen"), "{found:?}");
        let without = Config::parse("[server]\nname = \"example.org\"\n").expect("valid");
        assert!(object_store(&without).is_none());
    }
}
