//! `depesche config`: needs no server and no database.

use std::path::Path;

use depesche_config::Config;
use url::Host;

use crate::{cli::ConfigCommand, failure::Failure, log, media, signing_key, turn};

/// Carries the command out.
pub fn run(path: &Path, command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check => check(path),
        ConfigCommand::Example { name, data_dir } => {
            let (text, config) = example(name, data_dir.as_deref())?;
            tell(&config);
            print!("{text}");
            Ok(())
        }
    }
}

fn check(path: &Path) -> Result<(), Failure> {
    let config = valid(path)?;
    tell(&config);
    println!("# {} is valid. In force:\n", path.display());
    print!("{}", config.in_force());
    Ok(())
}

fn tell(config: &Config) {
    for warning in warnings(config) {
        eprintln!("warning: {warning}");
    }
}

/// The configuration, if a server would start with it.
pub fn valid(path: &Path) -> Result<Config, Failure> {
    let config = Config::load(path)?;
    log::filter(&config)?;
    turn::secret(&config)?;
    if let Some(store) = &config.media.store {
        media::bucket(store)?;
    }
    Ok(config)
}

/// What works and may be meant, but is worth a second look.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let name = config.server.name.as_str();
    if name.contains(|c: char| c.is_ascii_uppercase()) {
        warnings.push(format!(
            "server.name: {name} has capital letters, which a server's name should not have: others may take it for another \
             one. From the first start on it cannot be changed; before that, write {}",
            name.to_ascii_lowercase()
        ));
    }
    for address in config.server.listen.iter().filter(|address| !address.ip().is_loopback()) {
        warnings.push(format!(
            "server.listen: {address} is reached from other machines, without encryption; a reverse proxy must do TLS"
        ));
    }
    if let Some(address) = config.metrics.listen.filter(|address| !address.ip().is_loopback()) {
        warnings.push(format!("metrics.listen: {address} is reached from other machines, by anyone"));
    }
    let server = &config.server;
    if server.base_url.as_ref().is_some_and(|url| url.scheme() == "https") && server.trusted_proxies.is_empty() {
        warnings.push(
            "server.trusted_proxies: none is named, but server.base_url is https: all people who come through your \
             reverse proxy count as one address, and share its rate limits; name the proxy's address"
                .to_owned(),
        );
    }
    for network in server.trusted_proxies.iter().filter(|network| network.prefix_len() == 0) {
        warnings.push(format!(
            "server.trusted_proxies: {network} is everyone: whoever connects says which address counts for rate limits; \
             name the addresses of your reverse proxy alone"
        ));
    }
    for (key, path) in config.secret_files() {
        if signing_key::readable_by_others(&path) {
            warnings.push(format!("{key}: {0} can be read by others: chmod 600 {0}", path.display()));
        }
    }
    if let Some(store) = &config.media.store
        && store.endpoint.scheme() == "http"
        && !is_here(store.endpoint.host().as_ref())
    {
        warnings.push("media.store.endpoint: files and their names cross the network without encryption".to_owned());
    }
    if config.registration.mode == depesche_config::RegistrationMode::Open {
        warnings.push("registration.mode: whoever reaches this server can make accounts".to_owned());
    }
    warnings
}

/// Whether a host is this machine.
fn is_here(host: Option<&Host<&str>>) -> bool {
    match host {
        Some(Host::Domain(name)) => *name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn example(name: Option<String>, data_dir: Option<&Path>) -> Result<(String, Config), Failure> {
    let quote = |text: String| serde_json::Value::String(text).to_string();
    let mut set = Vec::new();
    if let Some(name) = name {
        set.push(("server.name", quote(name)));
    }
    if let Some(data_dir) = data_dir {
        set.push(("server.data_dir", quote(data_dir.display().to_string())));
    }
    let text = Config::example_with(&set);
    // Nobody is handed a file that does not work.
    let config = Config::parse(&text).map_err(|problems| {
        Failure::Usage(problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("\n"))
    })?;
    Ok((text, config))
}

#[cfg(test)]
mod tests {
    use depesche_config::Config;

    use super::{example, valid, warnings};

    #[test]
    fn the_first_configuration_is_valid_and_safe() {
        let (text, config) = example(Some("example.org".to_owned()), Some("/srv/a \"b\"".as_ref())).expect("valid");
        assert_eq!(Config::parse(&text).as_ref(), Ok(&config));
        assert_eq!(config.server.data_dir.to_str(), Some("/srv/a \"b\""));
        assert_eq!(warnings(&config), Vec::<String>::new());
        let refused = example(Some("not a name".to_owned()), None).expect_err("no name");
        assert_eq!(refused.exit_code(), 2);
        // It works, but is for ever.
        let (_, config) = example(Some("Example.org".to_owned()), None).expect("valid");
        let told = warnings(&config);
        assert!(told.len() == 1 && told[0].contains("write example.org"), "{told:?}");
    }

    #[test]
    fn a_second_look_is_advised() {
        let text = "[server]\nname = \"example.org\"\nlisten = [\"0.0.0.0:8008\"]\n\
                    [metrics]\nlisten = \"[::]:1\"\n[registration]\nmode = \"open\"\n";
        assert_eq!(warnings(&Config::parse(text).expect("valid")).len(), 3);
        let proxy = |text: &str| {
            let text = format!("[server]\nname = \"example.org\"\nbase_url = {text}\n");
            warnings(&Config::parse(&text).expect("valid"))
        };
        assert!(proxy("\"https://example.org\"")[0].starts_with("server.trusted_proxies: none"));
        assert_eq!(proxy("\"https://example.org\"\ntrusted_proxies = \"::1/128\""), Vec::<String>::new());
        assert!(proxy("\"https://example.org\"\ntrusted_proxies = \"0.0.0.0/0\"")[0].contains("is everyone"));
        assert_eq!(proxy("\"http://localhost:8008\""), Vec::<String>::new());
        let store = |endpoint: &str| {
            let text = format!(
                "[server]\nname = \"example.org\"\n[media.store]\nendpoint = \"{endpoint}\"\nbucket = \"b\"\n\
                 access_key_id_file = \"/none/id\"\nsecret_access_key_file = \"/none/secret\"\n"
            );
            warnings(&Config::parse(&text).expect("valid"))
        };
        assert!(store("http://s3.example.org")[0].contains("without encryption"));
        assert_eq!(store("http://127.0.0.1:9000"), Vec::<String>::new());
        assert_eq!(store("https://s3.example.org"), Vec::<String>::new());
    }

    #[test]
    fn secrets_are_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("secret");
        let file = folder.path().join("depesche.toml");
        let text = "[server]\nname = \"example.org\"\ndata_dir = \".\"\n[turn]\nuris = \"turn:a.org\"\n\
                    shared_secret_file = \"secret\"\n";
        std::fs::write(&file, text).expect("written");
        let refused = valid(&file).expect_err("the secret is not there");
        assert!(refused.exit_code() == 2 && refused.to_string().starts_with("turn.shared_secret_file: /"), "{refused}");
        let mode = |mode| std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(mode));
        std::fs::write(&secret, "a secret\n").expect("written");
        mode(0o600).expect("set");
        let config = valid(&file).expect("the secret is there");
        assert_eq!(warnings(&config), Vec::<String>::new());
        mode(0o644).expect("set");
        assert!(warnings(&config)[0].starts_with("turn.shared_secret_file: "), "{:?}", warnings(&config));
    }
}
